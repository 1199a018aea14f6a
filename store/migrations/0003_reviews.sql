-- What people decide, and the plans by which labels are drawn for them.

-- Every step of a reviewer, append-only. A `set` appends a curated label as well; an `undo` takes one earlier step back;
-- `skip` and `note` decide nothing. Without a target it is about the whole report.
CREATE TABLE reviews (
    review_id VARCHAR NOT NULL,
    report_id VARCHAR NOT NULL,
    task VARCHAR,
    target VARCHAR,
    "action" VARCHAR NOT NULL CHECK ("action" IN ('set', 'skip', 'note', 'undo')),
    status VARCHAR CHECK (status IN ('present', 'absent', 'uncertain', 'unmentioned')),
    label_id VARCHAR,
    accepts VARCHAR,
    undoes VARCHAR,
    reviewer VARCHAR NOT NULL,
    labeler_id VARCHAR NOT NULL,
    note VARCHAR,
    why VARCHAR,
    blind BOOLEAN NOT NULL,
    seconds DOUBLE,
    plan_id VARCHAR,
    decided_at TIMESTAMPTZ NOT NULL
);

-- A plan draws labels for review, so that each labeler's error rate can be estimated: who is judged, how exactly, how
-- many labels there are in each stratum and how many were drawn, and the drawn ones in the order of review.
CREATE TABLE audit_plans (
    plan_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    labeler_ids VARCHAR[] NOT NULL,
    "precision" DOUBLE NOT NULL,
    margin DOUBLE NOT NULL,
    "level" DOUBLE NOT NULL,
    config JSON,
    seed BIGINT NOT NULL,
    run_id VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE audit_strata (
    plan_id VARCHAR NOT NULL,
    stratum VARCHAR NOT NULL,
    labeler_id VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    population BIGINT NOT NULL,
    drawn BIGINT NOT NULL
);
CREATE TABLE audit_items (
    plan_id VARCHAR NOT NULL,
    place BIGINT NOT NULL,
    stratum VARCHAR NOT NULL,
    label_id VARCHAR NOT NULL,
    labeler_id VARCHAR NOT NULL,
    report_id VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    target VARCHAR NOT NULL
);

-- What each human labeler says of a target now: the last that was not taken back. Setting the same status again gives
-- the same label, so it is the review that has the time.
CREATE VIEW human_labels AS
WITH undone AS (SELECT undoes AS review_id FROM reviews WHERE "action" = 'undo'),
decided AS (
    SELECT label_id, max(decided_at) FILTER (u.review_id IS NULL) AS decided_at
    FROM reviews r LEFT JOIN undone u USING (review_id)
    WHERE "action" = 'set'
    GROUP BY label_id
)
SELECT l.*, b.name AS reviewer, coalesce(d.decided_at, l.created_at) AS decided_at
FROM labels l
JOIN labelers b USING (labeler_id)
LEFT JOIN decided d USING (label_id)
WHERE b.kind = 'human' AND (d.label_id IS NULL OR d.decided_at IS NOT NULL)
QUALIFY row_number() OVER (
    PARTITION BY l.labeler_id, l.report_id, l.task, l.target
    ORDER BY coalesce(d.decided_at, l.created_at) DESC, l.label_id) = 1;

-- Curated labels are those of human labelers, imported ones included; of several people's the latest.
CREATE OR REPLACE VIEW curated_labels AS
SELECT * EXCLUDE (reviewer, decided_at) FROM human_labels
QUALIFY row_number() OVER (PARTITION BY report_id, task, target ORDER BY decided_at DESC, label_id) = 1;
