-- Teachers of any number of labelers, verdicts that a person must give, batches of calls, looks at a split, and more
-- about each call.

-- Why each attempt but the last failed; whether the answer is the model's second one, given after it was shown what was
-- wrong with the first; which of several answers to the same request it is; the batch that it came in.
ALTER TABLE llm_calls ADD COLUMN retries VARCHAR[];
ALTER TABLE llm_calls ADD COLUMN repaired BOOLEAN;
ALTER TABLE llm_calls ADD COLUMN sample INTEGER;
ALTER TABLE llm_calls ADD COLUMN batch_id VARCHAR;

-- What a table of ICD-10-CM says of a code, which itself stays as it was given: `billable`, `category` (too short to
-- bill) or `unknown`; NULL where there is no code or nobody looked.
ALTER TABLE labels ADD COLUMN icd10_check VARCHAR;

-- Whose votes a teacher weighs (seat `labeler`, in the order of their places) and who decides (seat `adjudicator` for
-- disputes one by one, seat `aggregator` for all targets at once).
CREATE TABLE teacher_members (
    teacher_id VARCHAR NOT NULL,
    labeler_id VARCHAR NOT NULL,
    seat VARCHAR NOT NULL CHECK (seat IN ('labeler', 'adjudicator', 'aggregator')),
    place INTEGER NOT NULL
);
INSERT INTO teacher_members
SELECT teacher_id, rule_labeler_id, 'labeler', 0 FROM teachers WHERE rule_labeler_id IS NOT NULL
UNION ALL SELECT teacher_id, llm_labeler_id, 'labeler', 1 FROM teachers WHERE llm_labeler_id IS NOT NULL
UNION ALL SELECT teacher_id, adjudicator_id, 'adjudicator', 2 FROM teachers WHERE adjudicator_id IS NOT NULL;

DROP VIEW teacher_labels;
ALTER TABLE teachers DROP COLUMN rule_labeler_id;
ALTER TABLE teachers DROP COLUMN llm_labeler_id;
ALTER TABLE teachers DROP COLUMN adjudicator_id;

-- A verdict of `cannot_tell` is no label: it leaves the target to a person.
ALTER TABLE adjudications ALTER COLUMN label_id DROP NOT NULL;

-- Requests that were handed in together, to be answered within a day at half the price. A row of `batches` is written
-- before the endpoint is told, one of `batch_events` for each thing learnt of it afterwards.
CREATE TABLE batches (
    batch_id VARCHAR NOT NULL,
    endpoint VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    requests BIGINT NOT NULL,
    run_id VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE batch_requests (
    batch_id VARCHAR NOT NULL,
    custom_id VARCHAR NOT NULL,
    llm_call_id VARCHAR NOT NULL,
    report_id VARCHAR NOT NULL,
    agent VARCHAR NOT NULL,
    prompt_id VARCHAR,
    sample INTEGER
);
CREATE TABLE batch_events (
    batch_id VARCHAR NOT NULL,
    event VARCHAR NOT NULL CHECK (event IN ('submitted', 'completed', 'failed', 'expired', 'cancelled', 'lost')),
    endpoint_batch_id VARCHAR,
    answered BIGINT,
    refused BIGINT,
    reason VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
);

-- Each time somebody compared something on a split: the more often, the less its figures say about new reports.
CREATE TABLE looks (
    look_id VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    command VARCHAR NOT NULL,
    compared VARCHAR[] NOT NULL,
    reports BIGINT NOT NULL,
    run_id VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
);

-- What each teacher says of a target: the decider's label, else its labelers' vote, the last labeler's where they
-- differ. A vote of `unmentioned` from a narrower scope than another's is silence: the other vote stands. A target of
-- which the adjudicator said last that it cannot tell has no label.
CREATE VIEW teacher_labels AS
WITH votes AS (
    SELECT c.teacher_id, l.*, m.seat, m.place,
        l.status = 'unmentioned' AND l.scope <> 'full' AS silent
    FROM committed c
    JOIN teacher_members m USING (teacher_id)
    JOIN labels l ON l.report_id = c.report_id AND l.labeler_id = m.labeler_id
),
open_verdicts AS (
    SELECT m.teacher_id, a.report_id, a.task, a.target
    FROM adjudications a JOIN teacher_members m ON m.labeler_id = a.labeler_id
    QUALIFY row_number() OVER (
        PARTITION BY m.teacher_id, a.report_id, a.task, a.target ORDER BY a.created_at DESC, a.adjudication_id) = 1
        AND a.verdict = 'cannot_tell'
)
SELECT v.* EXCLUDE (seat, place, silent),
    CASE seat WHEN 'adjudicator' THEN 'adjudicated' WHEN 'aggregator' THEN 'aggregated' ELSE b.kind END AS decided_by
FROM votes v
JOIN labelers b USING (labeler_id)
ANTI JOIN open_verdicts o USING (teacher_id, report_id, task, target)
QUALIFY row_number() OVER (
    PARTITION BY teacher_id, report_id, task, target
    ORDER BY seat = 'labeler', seat = 'labeler' AND silent, place DESC, v.created_at DESC, label_id) = 1;

-- What waits for a person: targets of which an adjudicator could not tell, and nobody has decided since.
CREATE VIEW review_queue AS
SELECT report_id, task, target, 'cannot_tell' AS why, rationale, weighed, adjudication_id, labeler_id, created_at
FROM adjudications
ANTI JOIN curated_labels USING (report_id, task, target)
QUALIFY row_number() OVER (
    PARTITION BY labeler_id, report_id, task, target ORDER BY created_at DESC, adjudication_id) = 1
    AND verdict = 'cannot_tell';

-- Labels whose evidence is not in their report, or whose code is not in the table of codes: kept as given, and marked.
CREATE VIEW doubtful_labels AS
SELECT label_id, report_id, task, target, status, labeler_id, evidence[1].quote AS quote, icd10, icd10_check,
    len(list_filter(evidence, lambda e: e."start" < 0)) > 0 AS ungrounded
FROM labels
WHERE ungrounded OR icd10_check IN ('category', 'unknown');
