// Package scope says whose rows the database shows and takes. A context carries it
// from where a request or a job begins to the statement, on its own way beside the
// arguments: a statement that asks for another account's rows finds none.
//
// A context without a scope sees no rows of any account.
package scope

import (
	"context"
	"slices"
)

// Scope is whose rows there are. The zero Scope has none.
type Scope struct {
	// User sees the accounts of which it is a member; "" = nobody.
	User string
	// Account bounds User to one of them; "" = all.
	Account string
	// With is an account that is there besides, for whoever is making it, or has just
	// left it.
	With string
	// System sees the rows of all accounts; "" = not.
	System Purpose
}

// Purpose is why the service itself looks at the rows of all accounts.
type Purpose string

// All purposes there are. Who adds one says here what it reads and writes.
const (
	// SignIn is for requests of people who aren't known yet: signing up and in, links
	// in mails, invitations, API tokens before they are looked up.
	SignIn Purpose = "sign-in"
	// Documents is for what edges have to know of tenants.
	Documents Purpose = "documents"
	// Usage is for the ledger and what is counted for it, budgets, and figures that
	// consoles see live.
	Usage Purpose = "usage"
	// Jobs is for the work of the queue: mails, deleted tenants, what is forgotten.
	Jobs Purpose = "jobs"
	// Domains is for whether a domain or a host is another tenant's, and for taking it
	// from one that has lost it.
	Domains Purpose = "domains"
	// Self is for the tenant through which the service talks to consoles.
	Self Purpose = "self"
	// Sealing is for sealing secrets anew with another key.
	Sealing Purpose = "sealing"
	// Operator is for the operator of the service: commands, and its own listener.
	Operator Purpose = "operator"
	// Seed is for development, and whoever runs the seed command.
	Seed Purpose = "seed"
)

// Purposes lists all of them.
var Purposes = []Purpose{SignIn, Documents, Usage, Jobs, Domains, Self, Sealing, Operator, Seed}

type key struct{}

// Of returns the scope of ctx.
func Of(ctx context.Context) Scope {
	s, _ := ctx.Value(key{}).(Scope)
	return s
}

// ForUser returns ctx with the accounts of a user; account != "" leaves one of them.
func ForUser(ctx context.Context, user, account string) context.Context {
	return context.WithValue(ctx, key{}, Scope{User: user, Account: account})
}

// With returns ctx with one more account, which the user of ctx is making, or has left
// behind its lock.
func With(ctx context.Context, account string) context.Context {
	s := Of(ctx)
	s.With = account
	return context.WithValue(ctx, key{}, s)
}

// In returns ctx with a scope that another context had.
func In(ctx context.Context, s Scope) context.Context { return context.WithValue(ctx, key{}, s) }

// System returns ctx with the rows of all accounts. It panics for a purpose that isn't
// one of Purposes: that is a mistake of the program.
func System(ctx context.Context, p Purpose) context.Context {
	if !slices.Contains(Purposes, p) {
		panic("scope: no such purpose: " + string(p))
	}
	return context.WithValue(ctx, key{}, Scope{System: p})
}
