-- The store's first schema. Labels are append-only; content hashes are the keys, and writers dedupe by anti-join
-- instead of PRIMARY KEY constraints, which cost about five times on insert.

CREATE TABLE corpora (
    corpus VARCHAR NOT NULL,
    licence VARCHAR,
    egress VARCHAR NOT NULL CHECK (egress IN ('any', 'zero-retention', 'local-only')),
    source VARCHAR,
    source_hash VARCHAR,
    imported_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE reports (
    report_id VARCHAR NOT NULL,
    corpus VARCHAR NOT NULL,
    subject_id VARCHAR,
    indication VARCHAR,
    comparison VARCHAR,
    findings VARCHAR,
    impression VARCHAR,
    text VARCHAR,
    source_file VARCHAR,
    imported_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE skipped_rows (
    corpus VARCHAR NOT NULL,
    file VARCHAR NOT NULL,
    "row" BIGINT,
    report_id VARCHAR,
    reason VARCHAR NOT NULL,
    imported_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE splits (
    report_id VARCHAR NOT NULL,
    split VARCHAR NOT NULL CHECK (split IN ('train', 'calibration', 'gate', 'test')),
    group_id VARCHAR NOT NULL,
    seed BIGINT NOT NULL
);

CREATE TABLE prompts (
    prompt_id VARCHAR NOT NULL,
    role VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    text VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE labelers (
    labeler_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL CHECK (kind IN ('rule', 'llm', 'adjudicator', 'student', 'human')),
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    model VARCHAR,
    prompt_id VARCHAR,
    parameters JSON,
    created_at TIMESTAMPTZ NOT NULL
);

-- A teacher is one assembled graph: the labelers whose votes it weighs. Its label on a target is the adjudicator's
-- verdict where there is one, else the labelers' common vote.
CREATE TABLE teachers (
    teacher_id VARCHAR NOT NULL,
    rule_labeler_id VARCHAR,
    llm_labeler_id VARCHAR,
    adjudicator_id VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE runs (
    run_id VARCHAR NOT NULL,
    command VARCHAR NOT NULL,
    config JSON,
    version VARCHAR,
    git_revision VARCHAR,
    seed BIGINT,
    started_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE run_ends (
    run_id VARCHAR NOT NULL,
    status VARCHAR NOT NULL CHECK (status IN ('finished', 'failed', 'interrupted')),
    summary JSON,
    ended_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE llm_calls (
    llm_call_id VARCHAR NOT NULL,
    run_id VARCHAR,
    report_id VARCHAR,
    agent VARCHAR,
    model VARCHAR NOT NULL,
    prompt_id VARCHAR,
    response VARCHAR,
    prompt_tokens BIGINT,
    cached_tokens BIGINT,
    completion_tokens BIGINT,
    cost_usd DOUBLE,
    latency_ms DOUBLE,
    attempts INTEGER NOT NULL,
    error VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE labels (
    label_id VARCHAR NOT NULL,
    report_id VARCHAR NOT NULL,
    task VARCHAR NOT NULL CHECK (task IN ('findings', 'diseases')),
    target VARCHAR NOT NULL,
    icd10 VARCHAR,
    status VARCHAR NOT NULL CHECK (status IN ('present', 'absent', 'uncertain', 'unmentioned')),
    confidence DOUBLE CHECK (confidence BETWEEN 0 AND 1),
    confidence_source VARCHAR CHECK (confidence_source IN ('logprob', 'vote', 'self_report', 'rule')),
    confidence_note VARCHAR,
    probs STRUCT(present DOUBLE, absent DOUBLE, uncertain DOUBLE, unmentioned DOUBLE),
    evidence STRUCT(section VARCHAR, "start" INTEGER, "end" INTEGER, quote VARCHAR, cue VARCHAR)[],
    scope VARCHAR NOT NULL CHECK (scope IN ('impression', 'full', 'mimic')),
    labeler_id VARCHAR NOT NULL,
    run_id VARCHAR,
    round_id VARCHAR,
    llm_call_id VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
);

-- One row when a teacher is done with a report; written in the transaction that holds the labels.
CREATE TABLE committed (
    report_id VARCHAR NOT NULL,
    teacher_id VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    committed_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE failures (
    report_id VARCHAR NOT NULL,
    labeler_id VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    llm_call_id VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE adjudications (
    adjudication_id VARCHAR NOT NULL,
    report_id VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    labeler_id VARCHAR NOT NULL,
    label_id VARCHAR NOT NULL,
    weighed VARCHAR[] NOT NULL,
    verdict VARCHAR NOT NULL,
    rationale VARCHAR,
    llm_call_id VARCHAR,
    run_id VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE rounds (
    round_id VARCHAR NOT NULL,
    campaign_id VARCHAR NOT NULL,
    "round" INTEGER NOT NULL,
    arm VARCHAR NOT NULL CHECK (arm IN ('feedback', 'control', 'linear')),
    labeler_id VARCHAR NOT NULL,
    adapter_hash VARCHAR,
    adapter_path VARCHAR,
    base VARCHAR,
    teacher_id VARCHAR,
    rows_hash VARCHAR,
    config JSON,
    seed BIGINT,
    run_id VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE round_decisions (
    round_id VARCHAR NOT NULL,
    promoted BOOLEAN NOT NULL,
    champion_round_id VARCHAR,
    reason VARCHAR NOT NULL,
    figures JSON,
    created_at TIMESTAMPTZ NOT NULL
);

-- Every row that a round trained on, and every pseudo-label that it refused, each with its reason.
CREATE TABLE training_rows (
    round_id VARCHAR NOT NULL,
    report_id VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    label_id VARCHAR NOT NULL,
    scope VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    source VARCHAR NOT NULL CHECK (source IN ('teacher', 'curated', 'pseudo')),
    weight DOUBLE NOT NULL,
    selected BOOLEAN NOT NULL,
    reason VARCHAR NOT NULL
);

CREATE TABLE evaluations (
    evaluation_id VARCHAR NOT NULL,
    subject VARCHAR NOT NULL,
    labeler_id VARCHAR,
    round_id VARCHAR,
    split VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    n BIGINT NOT NULL,
    positives BIGINT,
    "value" DOUBLE,
    low DOUBLE,
    high DOUBLE,
    note VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
);

-- Curated labels are those of human labelers, imported ones included.
CREATE VIEW curated_labels AS
SELECT l.* FROM labels l JOIN labelers b USING (labeler_id)
WHERE b.kind = 'human'
QUALIFY row_number() OVER (PARTITION BY l.report_id, l.task, l.target ORDER BY l.created_at DESC, l.label_id) = 1;

-- What each teacher says: the adjudicator's verdict, else the model's vote, else the rules' vote. A vote of `unmentioned`
-- from a narrower scope than the other's is silence: the other vote stands.
CREATE VIEW teacher_labels AS
WITH votes AS (
    SELECT c.teacher_id, l.*,
        CASE l.labeler_id WHEN t.adjudicator_id THEN 0 WHEN t.llm_labeler_id THEN 1 ELSE 2 END AS precedence,
        l.status = 'unmentioned' AND l.scope <> 'full' AS silent
    FROM committed c
    JOIN teachers t USING (teacher_id)
    JOIN labels l ON l.report_id = c.report_id
        AND l.labeler_id IN (t.rule_labeler_id, t.llm_labeler_id, t.adjudicator_id)
)
SELECT * EXCLUDE (precedence, silent),
    CASE precedence WHEN 0 THEN 'adjudicated' WHEN 1 THEN 'llm' ELSE 'rule' END AS decided_by
FROM votes
QUALIFY row_number() OVER (
    PARTITION BY teacher_id, report_id, task, target ORDER BY precedence > 0 AND silent, precedence, created_at DESC, label_id) = 1;

-- The bill: what the calls of each run and model cost.
CREATE VIEW bill AS
SELECT run_id, agent, model, count(*) AS calls, count(error) AS failed, sum(prompt_tokens) AS prompt_tokens,
    sum(completion_tokens) AS completion_tokens, sum(cost_usd) AS cost_usd, median(latency_ms) AS median_latency_ms
FROM llm_calls GROUP BY ALL;

-- From an adapter to everything that made it, in one query.
CREATE VIEW adapter_lineage AS
SELECT r.adapter_hash, r.adapter_path, r.campaign_id, r."round", r.arm, r.round_id,
    w.report_id, w.task, w.target, w.status, w.source, w.weight, w.reason,
    l.label_id, l.confidence, b.kind AS labeler_kind, b.name AS labeler, b.model,
    k.llm_call_id, k.cost_usd, k.response, p.prompt_id, p.name AS prompt, p.text AS prompt_text,
    a.rationale, x.corpus, coalesce(x.findings, x.text) AS findings_text, x.impression AS impression_text
FROM rounds r
JOIN training_rows w USING (round_id)
JOIN labels l USING (label_id)
JOIN labelers b ON b.labeler_id = l.labeler_id
JOIN reports x ON x.report_id = l.report_id
LEFT JOIN llm_calls k ON k.llm_call_id = l.llm_call_id AND k.error IS NULL
LEFT JOIN prompts p ON p.prompt_id = coalesce(k.prompt_id, b.prompt_id)
LEFT JOIN adjudications a ON a.label_id = l.label_id
WHERE w.selected;
