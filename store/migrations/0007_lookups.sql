-- Lookups that do not read what they do not need, in a store of any size.

-- Ids of labels are as random as hashes, so that finding one reads them all. Rows of one report lie together: who knows the
-- report names it too, and hardly anything is read.
CREATE OR REPLACE MACRO label_lineage(label_id, report := NULL) AS TABLE
WITH it AS (
    SELECT l.* FROM labels l WHERE l.label_id = label_id AND (report IS NULL OR l.report_id = report)
),
-- All labels of its report: what it was weighed with, and what came after it.
votes AS (
    SELECT l.label_id, l.task, l.target, l.status, l.confidence, l.evidence, l.labeler_id, l.created_at, l.run_id,
        b.kind, b.name
    FROM labels l
    JOIN it ON it.report_id = l.report_id
    JOIN labelers b ON b.labeler_id = l.labeler_id
),
steps AS (
    SELECT r.*, u.review_id IS NOT NULL AS undone
    FROM reviews r
    JOIN it ON it.report_id = r.report_id
    LEFT JOIN reviews u ON u.undoes = r.review_id AND u."action" = 'undo'
),
set_at AS (SELECT s.label_id, max(s.decided_at) FILTER (NOT s.undone) AS at FROM steps s WHERE s."action" = 'set' GROUP BY 1),
-- The same target's labels, without those that were taken back, each with its time.
said AS (
    SELECT v.*, coalesce(d.at, v.created_at) AS at
    FROM votes v
    JOIN it ON v.task = it.task AND v.target = it.target
    LEFT JOIN set_at d ON d.label_id = v.label_id
    WHERE d.label_id IS NULL OR d.at IS NOT NULL
),
judged AS (
    SELECT a.*, b.name AS adjudicator, k.cost_usd, CASE WHEN a.label_id = it.label_id THEN 'decided' ELSE 'weighed' END AS part,
        (SELECT list({'label_id': v.label_id, 'labeler': v.name, 'target': v.target, 'status': v.status,
            'confidence': v.confidence, 'quote': v.evidence[1].quote} ORDER BY v.kind, v.name, v.label_id)
            FROM votes v WHERE list_contains(a.weighed, v.label_id)) AS votes
    FROM adjudications a
    JOIN it ON it.report_id = a.report_id AND (a.label_id = it.label_id OR list_contains(a.weighed, it.label_id))
    LEFT JOIN labelers b ON b.labeler_id = a.labeler_id
    LEFT JOIN llm_calls k ON k.llm_call_id = a.llm_call_id AND k."error" IS NULL
),
later AS (
    SELECT s.at, 'labeler' AS how, s.label_id, s.name AS labeler, s.status
    FROM said s JOIN it ON s.labeler_id = it.labeler_id AND s.label_id <> it.label_id
    LEFT JOIN said own ON own.label_id = it.label_id
    WHERE (s.at, it.label_id) > (coalesce(own.at, it.created_at), s.label_id) OR own.label_id IS NULL
    UNION ALL
    SELECT j.created_at, 'adjudication', j.label_id, j.adjudicator, j.verdict FROM judged j WHERE j.part = 'weighed'
    UNION ALL
    SELECT s.at, 'curated', s.label_id, s.name, s.status
    FROM said s JOIN it ON s.kind = 'human' AND s.labeler_id <> it.labeler_id
    QUALIFY row_number() OVER (PARTITION BY s.labeler_id ORDER BY s.at DESC, s.label_id) = 1
)
SELECT it.label_id, it.report_id, x.corpus, x.subject_id, s.split, x.indication, x.comparison, x.findings, x.impression, x.text,
    it.task, it.target, it.status, it.icd10, it.icd10_check, it.scope, it.confidence, it.confidence_source, it.confidence_note,
    it.probs, it.evidence, it.created_at,
    it.labeler_id, b.kind AS labeler_kind, b.name AS labeler, b.version AS labeler_version, b.model, b.parameters,
    p.prompt_id, p.name AS prompt, p.text AS prompt_text,
    k.llm_call_id, k.response AS raw_answer, k.prompt_tokens, k.cached_tokens, k.completion_tokens, k.cost_usd, k.latency_ms,
    k.attempts, k.repaired, k.batch_id,
    it.run_id, r.command, r.version AS run_version, r.git_revision, r.started_at AS run_started_at,
    it.round_id, o.adapter_hash,
    own.label_id IS NOT NULL AND NOT EXISTS (FROM later n WHERE n.how = 'labeler') AS "current",
    (SELECT list({'adjudication_id': j.adjudication_id, 'part': j.part, 'adjudicator': j.adjudicator, 'verdict': j.verdict,
        'label_id': j.label_id, 'rationale': j.rationale, 'votes': j.votes, 'llm_call_id': j.llm_call_id,
        'cost_usd': j.cost_usd, 'at': j.created_at} ORDER BY j.created_at, j.adjudication_id) FROM judged j) AS adjudications,
    (SELECT list({'how': n.how, 'label_id': n.label_id, 'labeler': n.labeler, 'status': n.status,
        'agrees': n.status = it.status, 'at': n.at} ORDER BY n.at, n.label_id) FROM later n) AS superseded_by,
    (SELECT list({'review_id': t.review_id, 'action': t."action", 'part': CASE WHEN t.label_id = it.label_id THEN 'set it'
            WHEN t.accepts = it.label_id THEN 'accepted it' ELSE 'took that back' END,
        'reviewer': t.reviewer, 'status': t.status, 'note': t.note, 'blind': t.blind, 'undone': t.undone,
        'at': t.decided_at} ORDER BY t.decided_at, t.review_id)
        FROM steps t
        WHERE t.label_id = it.label_id OR t.accepts = it.label_id OR t.undoes IN (
            SELECT e.review_id FROM steps e WHERE e.label_id = it.label_id OR e.accepts = it.label_id)) AS reviews
FROM it
JOIN labelers b ON b.labeler_id = it.labeler_id
LEFT JOIN said own ON own.label_id = it.label_id
LEFT JOIN reports x ON x.report_id = it.report_id
LEFT JOIN splits s ON s.report_id = it.report_id
LEFT JOIN llm_calls k ON k.llm_call_id = it.llm_call_id AND k."error" IS NULL
LEFT JOIN prompts p ON p.prompt_id = coalesce(k.prompt_id, b.prompt_id)
LEFT JOIN runs r ON r.run_id = it.run_id
LEFT JOIN rounds o ON o.round_id = it.round_id;

CREATE OR REPLACE MACRO label_impact(label_id, report := NULL) AS TABLE
WITH RECURSIVE it AS (
    SELECT l.label_id, l.report_id, l.task, l.target, l.status
    FROM labels l WHERE l.label_id = label_id AND (report IS NULL OR l.report_id = report)
),
-- Verdicts that weighed the label and came out as it says carry it on.
verdicts AS (
    SELECT a.label_id, a.report_id, a.task, a.target, a.verdict AS status, a.rationale
    FROM adjudications a
    JOIN it ON a.report_id = it.report_id AND a.verdict = it.status AND list_contains(a.weighed, it.label_id)
    WHERE a.label_id IS NOT NULL
),
carriers AS (SELECT it.label_id, it.report_id FROM it UNION SELECT v.label_id, v.report_id FROM verdicts v),
trained AS (
    SELECT w.round_id, max(w.weight) AS weight, arg_max(w.reason, w.weight) AS reason,
        arg_max(w.label_id, w.weight) AS label_id
    FROM training_rows w JOIN carriers c ON c.label_id = w.label_id AND c.report_id = w.report_id
    WHERE w.selected
    GROUP BY w.round_id
),
-- From the round whose student made pseudo-labels to the round that trained on them.
fed AS (SELECT DISTINCT f.made_in, f.round_id FROM pseudo_labels f WHERE f.selected),
reached AS (
    SELECT t.round_id FROM trained t
    UNION
    SELECT f.round_id FROM reached e JOIN fed f ON f.made_in = e.round_id
)
SELECT 'verdict' AS kind, true AS direct, NULL::VARCHAR AS round_id, NULL::VARCHAR AS campaign_id, NULL::INTEGER AS "round",
    NULL::VARCHAR AS arm, NULL::VARCHAR AS adapter_hash, NULL::BOOLEAN AS promoted, v.label_id, v.report_id, v.task,
    v.target, v.status, NULL::VARCHAR AS used_in, NULL::BOOLEAN AS selected, NULL::DOUBLE AS weight, v.rationale AS reason
FROM verdicts v
UNION ALL
SELECT 'adapter', t.round_id IS NOT NULL, o.round_id, o.campaign_id, o."round", o.arm, o.adapter_hash, d.promoted,
    t.label_id, it.report_id, it.task, it.target, it.status, NULL, t.round_id IS NOT NULL, t.weight, t.reason
FROM reached e
JOIN rounds o ON o.round_id = e.round_id
LEFT JOIN round_decisions d ON d.round_id = o.round_id
LEFT JOIN trained t ON t.round_id = o.round_id
CROSS JOIN it
UNION ALL
SELECT 'pseudo-label', false, o.round_id, o.campaign_id, o."round", o.arm, o.adapter_hash, d.promoted,
    f.label_id, f.report_id, f.task, f.target, f.status, f.round_id, f.selected, f.weight, f.reason
FROM reached e
JOIN rounds o ON o.round_id = e.round_id
JOIN pseudo_labels f ON f.made_in = o.round_id
LEFT JOIN round_decisions d ON d.round_id = o.round_id;

-- The rows of people are few. Which they are is told by one column that is cheap to read; only these are then read whole.
CREATE OR REPLACE VIEW human_labels AS
WITH of_people AS MATERIALIZED (
    SELECT l.rowid AS place, b.name AS reviewer FROM labels l JOIN labelers b USING (labeler_id) WHERE b.kind = 'human'
),
undone AS (SELECT undoes AS review_id FROM reviews WHERE "action" = 'undo'),
decided AS (
    SELECT label_id, max(decided_at) FILTER (u.review_id IS NULL) AS decided_at
    FROM reviews r LEFT JOIN undone u USING (review_id)
    WHERE "action" = 'set'
    GROUP BY label_id
)
SELECT l.*, p.reviewer, coalesce(d.decided_at, l.created_at) AS decided_at
FROM labels l
JOIN of_people p ON p.place = l.rowid
LEFT JOIN decided d USING (label_id)
WHERE d.label_id IS NULL OR d.decided_at IS NOT NULL
QUALIFY row_number() OVER (
    PARTITION BY l.labeler_id, l.report_id, l.task, l.target
    ORDER BY coalesce(d.decided_at, l.created_at) DESC, l.label_id) = 1;

-- What each teacher says of a target, as before; open verdicts stand among the votes, so that who asks of one report has one
-- report read.
CREATE OR REPLACE VIEW teacher_labels AS
WITH votes AS (
    SELECT c.teacher_id, l.*, m.seat, m.place, l.status = 'unmentioned' AND l.scope <> 'full' AS silent,
        false AS is_open
    FROM committed c
    JOIN teacher_members m USING (teacher_id)
    JOIN labels l ON l.report_id = c.report_id AND l.labeler_id = m.labeler_id
    UNION ALL BY NAME
    SELECT m.teacher_id, a.report_id, a.task, a.target, a.labeler_id, true AS is_open
    FROM adjudications a JOIN teacher_members m ON m.labeler_id = a.labeler_id
    QUALIFY row_number() OVER (
        PARTITION BY m.teacher_id, a.report_id, a.task, a.target ORDER BY a.created_at DESC, a.adjudication_id) = 1
        AND a.verdict = 'cannot_tell'
),
first_votes AS (
    SELECT * FROM votes
    QUALIFY row_number() OVER (
        PARTITION BY teacher_id, report_id, task, target
        ORDER BY is_open DESC, seat = 'labeler', seat = 'labeler' AND silent, place DESC, created_at DESC, label_id) = 1
)
SELECT v.* EXCLUDE (seat, place, silent, is_open),
    CASE seat WHEN 'adjudicator' THEN 'adjudicated' WHEN 'aggregator' THEN 'aggregated' ELSE b.kind END AS decided_by
FROM first_votes v
JOIN labelers b USING (labeler_id)
WHERE NOT v.is_open;

COMMENT ON MACRO TABLE label_lineage IS 'Where a label comes from, and what came after it: one row, or none where there is no such label. In a large store it is found at once where its report is named too: report := ''...''.
label_id: The label.
report_id: Its report.
corpus: The corpus of the report.
subject_id: The patient.
split: The split of the report.
indication: The report: why the image was taken.
comparison: The report: what it is compared with.
findings: The report: what is seen.
impression: The report: the conclusion.
text: The report: all of it, for corpora without sections.
task: findings (the closed set of 13) or diseases (open-ended).
target: What is labelled: one of the 13 findings, or a disease phrase.
status: present, absent, uncertain or unmentioned.
icd10: ICD-10-CM code as it was given; NULL for findings.
icd10_check: What a table of ICD-10-CM says of the code: billable, category (too short to bill) or unknown; NULL where there is no code or nobody looked.
scope: The sections that it was made from: impression, full (findings and impression) or mimic (impression, else findings, else the last paragraph).
confidence: Probability of the status, 0 to 1; NULL where the labeler has none, with the reason in confidence_note.
confidence_source: Where the confidence comes from: logprob, vote, self_report or rule; NULL where there is none.
confidence_note: Why there is no confidence, or what it means.
probs: Probability of each status, where the labeler gives all four.
evidence: The spans that it rests on: section, offsets in that section (-1 where the quote is not in the report), the words, and the cue.
created_at: When it was written.
labeler_id: Who gave it; joins labelers.
labeler_kind: rule, llm, adjudicator, student or human.
labeler: Name of the labeler, such as rule or llm:gpt-4o.
labeler_version: Hash or version of what makes the output: rules version, hash of prompt and settings, adapter hash.
model: The model, such as gpt-4o-2024-08-06 or stand-in; NULL for rules and people.
parameters: What else changes its output: scope, schema, temperature, seed.
prompt_id: The prompt that was asked.
prompt: Its name.
prompt_text: The whole prompt file.
llm_call_id: The call that gave the label; NULL where none did.
raw_answer: What the model answered, as it came.
prompt_tokens: Tokens sent.
cached_tokens: Of them, those that the endpoint had cached.
completion_tokens: Tokens answered.
cost_usd: US dollars of the whole call, which may have given several labels.
latency_ms: Milliseconds from request to answer.
attempts: Attempts that the call took.
repaired: Whether it is the model''s second answer.
batch_id: The batch that it came in.
run_id: The run that wrote it.
command: What was run.
run_version: Version of Teachback.
git_revision: Revision of the source.
run_started_at: When the run started.
round_id: The round whose student gave it.
adapter_hash: The adapter that gave it.
current: Whether its labeler still says so: it gave no later label, and nobody took this one back.
adjudications: Adjudications that it was weighed in or that decided it (part: weighed or decided): adjudicator, verdict, the label given, rationale, the votes, the call and its cost.
superseded_by: What stands in its place: a later label of its labeler (how: labeler), an adjudicator that weighed it (adjudication), what each person says now (curated); agrees tells whether that is the same status.
reviews: Steps of reviewers that set it, accepted it, or took that back (part).';
COMMENT ON MACRO TABLE label_impact IS 'What became of a label: one row a thing that it had a part in. Name its report too where you know it, as for label_lineage. Of kind verdict: labels of an adjudicator that weighed it and came out as it says. Of kind adapter: students trained on it or on such a verdict (direct), or on pseudo-labels of those (not direct). Of kind pseudo-label: labels of those students that a round took or refused.
kind: verdict, adapter or pseudo-label.
direct: Whether it comes from the label itself; false where it is reached through pseudo-labels.
round_id: The round of the student; NULL for a verdict.
campaign_id: The campaign; its rounds share it.
round: Number of the round, from 1.
arm: feedback (fed with pseudo-labels), control (the same budget without them) or linear (a bag of words).
adapter_hash: Hash of the content of the adapter; NULL for the linear student, which has none.
promoted: Whether the round became the champion; NULL where it did not stand for it.
label_id: The verdict, the label that the adapter was trained on, or the pseudo-label.
report_id: Its report.
task: findings (the closed set of 13) or diseases (open-ended).
target: What is labelled: one of the 13 findings, or a disease phrase.
status: Its status.
used_in: For a pseudo-label the round that took or refused it.
selected: Whether it was trained on.
weight: Weight in the training loss.
reason: Why it was taken or refused; for a verdict the rationale.';
COMMENT ON VIEW human_labels IS 'What each person says of a target now: the last that was not taken back.';
COMMENT ON COLUMN human_labels."label_id" IS 'The label; joins labels.';
COMMENT ON COLUMN human_labels."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN human_labels."task" IS 'findings (the closed set of 13) or diseases (open-ended).';
COMMENT ON COLUMN human_labels."target" IS 'What is labelled: one of the 13 findings, or a disease phrase.';
COMMENT ON COLUMN human_labels."icd10" IS 'ICD-10-CM code as it was given; NULL for findings.';
COMMENT ON COLUMN human_labels."status" IS 'present, absent, uncertain or unmentioned.';
COMMENT ON COLUMN human_labels."confidence" IS 'Probability of the status, 0 to 1; NULL where the labeler has none, with the reason in confidence_note.';
COMMENT ON COLUMN human_labels."confidence_source" IS 'Where the confidence comes from: logprob, vote, self_report or rule; NULL where there is none.';
COMMENT ON COLUMN human_labels."confidence_note" IS 'Why there is no confidence, or what it means.';
COMMENT ON COLUMN human_labels."probs" IS 'Probability of each status, where the labeler gives all four.';
COMMENT ON COLUMN human_labels."evidence" IS 'The spans that it rests on: section, offsets in that section (-1 where the quote is not in the report), the words, and the cue.';
COMMENT ON COLUMN human_labels."scope" IS 'The sections that it was made from: impression, full (findings and impression) or mimic (impression, else findings, else the last paragraph).';
COMMENT ON COLUMN human_labels."labeler_id" IS 'Who gave it; joins labelers.';
COMMENT ON COLUMN human_labels."run_id" IS 'The run that wrote it; joins runs.';
COMMENT ON COLUMN human_labels."round_id" IS 'The round whose student gave it; joins rounds; NULL for all others.';
COMMENT ON COLUMN human_labels."llm_call_id" IS 'The call that gave it; joins llm_calls; NULL where none did.';
COMMENT ON COLUMN human_labels."created_at" IS 'When it was written. Of two labels by one labeler on one target the later holds.';
COMMENT ON COLUMN human_labels."icd10_check" IS 'What a table of ICD-10-CM says of the code: billable, category (too short to bill) or unknown; NULL where there is no code or nobody looked.';
COMMENT ON COLUMN human_labels."reviewer" IS 'The person''s name.';
COMMENT ON COLUMN human_labels."decided_at" IS 'When it was decided, for a reviewer; else when it was written.';
COMMENT ON VIEW teacher_labels IS 'What each teacher says of a target: the decider''s label, else its labelers'' vote, the last labeler''s where they differ; none where the adjudicator could not tell.';
COMMENT ON COLUMN teacher_labels."teacher_id" IS 'The teacher; joins teachers.';
COMMENT ON COLUMN teacher_labels."label_id" IS 'The label; joins labels.';
COMMENT ON COLUMN teacher_labels."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN teacher_labels."task" IS 'findings (the closed set of 13) or diseases (open-ended).';
COMMENT ON COLUMN teacher_labels."target" IS 'What is labelled: one of the 13 findings, or a disease phrase.';
COMMENT ON COLUMN teacher_labels."icd10" IS 'ICD-10-CM code as it was given; NULL for findings.';
COMMENT ON COLUMN teacher_labels."status" IS 'present, absent, uncertain or unmentioned.';
COMMENT ON COLUMN teacher_labels."confidence" IS 'Probability of the status, 0 to 1; NULL where the labeler has none, with the reason in confidence_note.';
COMMENT ON COLUMN teacher_labels."confidence_source" IS 'Where the confidence comes from: logprob, vote, self_report or rule; NULL where there is none.';
COMMENT ON COLUMN teacher_labels."confidence_note" IS 'Why there is no confidence, or what it means.';
COMMENT ON COLUMN teacher_labels."probs" IS 'Probability of each status, where the labeler gives all four.';
COMMENT ON COLUMN teacher_labels."evidence" IS 'The spans that it rests on: section, offsets in that section (-1 where the quote is not in the report), the words, and the cue.';
COMMENT ON COLUMN teacher_labels."scope" IS 'The sections that it was made from: impression, full (findings and impression) or mimic (impression, else findings, else the last paragraph).';
COMMENT ON COLUMN teacher_labels."labeler_id" IS 'Who gave it; joins labelers.';
COMMENT ON COLUMN teacher_labels."run_id" IS 'The run that wrote it; joins runs.';
COMMENT ON COLUMN teacher_labels."round_id" IS 'The round whose student gave it; joins rounds; NULL for all others.';
COMMENT ON COLUMN teacher_labels."llm_call_id" IS 'The call that gave it; joins llm_calls; NULL where none did.';
COMMENT ON COLUMN teacher_labels."created_at" IS 'When it was written. Of two labels by one labeler on one target the later holds.';
COMMENT ON COLUMN teacher_labels."icd10_check" IS 'What a table of ICD-10-CM says of the code: billable, category (too short to bill) or unknown; NULL where there is no code or nobody looked.';
COMMENT ON COLUMN teacher_labels."decided_by" IS 'adjudicated, aggregated, or the kind of the labeler whose vote stands.';
