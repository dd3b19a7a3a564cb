package serverconn

import (
	"context"

	"github.com/signalbox/signalbox/hubs"
	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// defaultMembers is how many members of a group a page has when the app server
// doesn't say.
const defaultMembers = 200

// listGroup answers with a page of a group's connections.
func (k *connection) listGroup(m *sp.GroupMemberQuery) error {
	a := &ack{id: m.AckID}
	q := hubs.ListQuery{Kind: hubs.ListConnections, Group: m.Group, After: m.Continuation, Limit: int(m.Max)}
	if q.Limit <= 0 {
		q.Limit = defaultMembers
	}
	q.Limit = min(q.Limit, hubs.MaxListed)
	err := checkNames(hubs.CheckGroup, m.Group)
	if err == nil && m.Continuation != "" {
		err = checkNames(hubs.CheckConnectionID, m.Continuation)
	}
	if err != nil {
		k.refuse(m, a, err)
		return nil
	}
	if ok, err := k.admit(m, a, nil, 0); !ok {
		return err
	}
	if _, err := k.flow.position(k.ctx); err != nil {
		return err
	}
	return k.await(func(ctx context.Context) {
		page, err := k.admission.Backplane().List(ctx, q)
		if err != nil {
			k.answer(m, a, 0, err)
			return
		}
		members := make([]sp.GroupMember, len(page.Items))
		for i, item := range page.Items {
			members[i] = sp.GroupMember{ConnectionID: item.Name, UserID: item.User}
		}
		next := ""
		if page.More && len(page.Items) > 0 {
			next = page.Items[len(page.Items)-1].Name
		}
		k.out.force(&sp.Ack{AckID: m.AckID, Status: sp.AckOK, Payload: sp.AppendGroupMembers(nil, members, next)})
	})
}
