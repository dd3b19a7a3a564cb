package tenantstore

import (
	"time"

	"github.com/riverqueue/river"

	"github.com/signalbox/signalbox/tenants"
)

// PublishDocument asks to hand a tenant's document to the data plane.
type PublishDocument struct {
	Tenant tenants.ID `json:"tenant"`
}

// Kind implements river.JobArgs.
func (PublishDocument) Kind() string { return "publish_tenant_document" }

// publishAttempts, with the worker's delay of at most two seconds each, span
// more than a day without Redis.
const publishAttempts = 50_000

// InsertOpts implements river.JobArgsWithInsertOpts.
func (PublishDocument) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: publishAttempts, Priority: 1}
}

// PurgeTenant asks to take out of Redis what edges have kept of a deleted tenant.
type PurgeTenant struct {
	Tenant  tenants.ID `json:"tenant"`
	Deleted time.Time  `json:"deleted"`
}

// Kind implements river.JobArgs.
func (PurgeTenant) Kind() string { return "purge_tenant" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (PurgeTenant) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: publishAttempts, Priority: 1}
}

// SendMail asks to send a mail of the outbox.
type SendMail struct {
	Mail string `json:"mail"`
}

// Kind implements river.JobArgs.
func (SendMail) Kind() string { return "send_mail" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (SendMail) InsertOpts() river.InsertOpts { return river.InsertOpts{Priority: 2} }
