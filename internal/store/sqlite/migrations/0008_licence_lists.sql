-- +goose Up

-- The list over all organisations, a page at a time: by each date it is ordered by, with what breaks ties and what its filters look
-- at, so that neither a page nor a count reads rows that it does not give. Written when a licence is made or renewed.
CREATE INDEX licences_start ON licences (starts_at, id, agreement_id);
CREATE INDEX licences_expiry ON licences (expires_at, id, agreement_id);

-- By id within an agreement, in the place of the index by agreement alone, whose work it does for versions before this.
CREATE INDEX licences_agreement_id ON licences (agreement_id, id);
DROP INDEX licences_agreement;
