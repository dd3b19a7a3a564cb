-- +goose Up
-- Who sent an invitation last: it ends when that one may not invite any more.
ALTER TABLE invitations ADD COLUMN inviter text NOT NULL DEFAULT '';
UPDATE invitations i SET inviter = u.id FROM users u WHERE u.email = i.invited_by AND u.kind = 'person';
