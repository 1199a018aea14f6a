-- Lineage of a label in half the time, which went into planning the query: what was subqueries is joined.
CREATE OR REPLACE MACRO label_lineage(label_id, report := NULL) AS TABLE
WITH it AS MATERIALIZED (
    SELECT l.* FROM labels l WHERE l.label_id = label_id AND (report IS NULL OR l.report_id = report)
),
-- All labels of its report: what it was weighed with, and what came after it.
votes AS MATERIALIZED (
    SELECT l.label_id, l.task, l.target, l.status, l.confidence, l.evidence, l.labeler_id, l.created_at, l.run_id,
        b.kind, b.name
    FROM labels l
    JOIN it ON it.report_id = l.report_id
    JOIN labelers b ON b.labeler_id = l.labeler_id
),
steps AS MATERIALIZED (
    SELECT r.*, u.review_id IS NOT NULL AS undone
    FROM reviews r
    JOIN it ON it.report_id = r.report_id
    LEFT JOIN reviews u ON u.undoes = r.review_id AND u."action" = 'undo'
),
set_at AS (SELECT s.label_id, max(s.decided_at) FILTER (NOT s.undone) AS at FROM steps s WHERE s."action" = 'set' GROUP BY 1),
-- The same target's labels, without those that were taken back, each with its time.
said AS MATERIALIZED (
    SELECT v.*, coalesce(d.at, v.created_at) AS at
    FROM votes v
    JOIN it ON v.task = it.task AND v.target = it.target
    LEFT JOIN set_at d ON d.label_id = v.label_id
    WHERE d.label_id IS NULL OR d.at IS NOT NULL
),
asked AS MATERIALIZED (
    SELECT a.*, b.name AS adjudicator, k.cost_usd, CASE WHEN a.label_id = it.label_id THEN 'decided' ELSE 'weighed' END AS part
    FROM adjudications a
    JOIN it ON it.report_id = a.report_id AND (a.label_id = it.label_id OR list_contains(a.weighed, it.label_id))
    LEFT JOIN labelers b ON b.labeler_id = a.labeler_id
    LEFT JOIN llm_calls k ON k.llm_call_id = a.llm_call_id AND k."error" IS NULL
),
weighed AS (
    SELECT a.adjudication_id, list({'label_id': v.label_id, 'labeler': v.name, 'target': v.target, 'status': v.status,
        'confidence': v.confidence, 'quote': v.evidence[1].quote} ORDER BY v.kind, v.name, v.label_id) AS votes
    FROM asked a JOIN votes v ON list_contains(a.weighed, v.label_id)
    GROUP BY a.adjudication_id
),
judged AS (
    SELECT list({'adjudication_id': a.adjudication_id, 'part': a.part, 'adjudicator': a.adjudicator, 'verdict': a.verdict,
        'label_id': a.label_id, 'rationale': a.rationale, 'votes': w.votes, 'llm_call_id': a.llm_call_id,
        'cost_usd': a.cost_usd, 'at': a.created_at} ORDER BY a.created_at, a.adjudication_id) AS adjudications
    FROM asked a LEFT JOIN weighed w ON w.adjudication_id = a.adjudication_id
),
later AS MATERIALIZED (
    SELECT s.at, 'labeler' AS how, s.label_id, s.name AS labeler, s.status
    FROM said s JOIN it ON s.labeler_id = it.labeler_id AND s.label_id <> it.label_id
    LEFT JOIN said own ON own.label_id = it.label_id
    WHERE (s.at, it.label_id) > (coalesce(own.at, it.created_at), s.label_id) OR own.label_id IS NULL
    UNION ALL
    SELECT a.created_at, 'adjudication', a.label_id, a.adjudicator, a.verdict FROM asked a WHERE a.part = 'weighed'
    UNION ALL
    SELECT s.at, 'curated', s.label_id, s.name, s.status
    FROM said s JOIN it ON s.kind = 'human' AND s.labeler_id <> it.labeler_id
    QUALIFY row_number() OVER (PARTITION BY s.labeler_id ORDER BY s.at DESC, s.label_id) = 1
),
replaced AS (
    SELECT coalesce(bool_or(n.how = 'labeler'), false) AS taken_back, list({'how': n.how, 'label_id': n.label_id,
        'labeler': n.labeler, 'status': n.status, 'agrees': n.status = it.status, 'at': n.at} ORDER BY n.at, n.label_id)
        AS superseded_by
    FROM later n CROSS JOIN it
),
own_steps AS MATERIALIZED (
    SELECT t.*, CASE WHEN t.label_id = it.label_id THEN 'set it' WHEN t.accepts = it.label_id THEN 'accepted it' END AS part
    FROM steps t CROSS JOIN it
),
reviewed AS (
    SELECT list({'review_id': t.review_id, 'action': t."action", 'part': coalesce(t.part, 'took that back'),
        'reviewer': t.reviewer, 'status': t.status, 'note': t.note, 'blind': t.blind, 'undone': t.undone,
        'at': t.decided_at} ORDER BY t.decided_at, t.review_id) AS reviews
    FROM own_steps t LEFT JOIN own_steps e ON e.review_id = t.undoes AND e.part IS NOT NULL
    WHERE t.part IS NOT NULL OR e.review_id IS NOT NULL
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
    own.label_id IS NOT NULL AND NOT n.taken_back AS "current",
    j.adjudications, n.superseded_by, t.reviews
FROM it
CROSS JOIN judged j
CROSS JOIN replaced n
CROSS JOIN reviewed t
JOIN labelers b ON b.labeler_id = it.labeler_id
LEFT JOIN said own ON own.label_id = it.label_id
LEFT JOIN reports x ON x.report_id = it.report_id
LEFT JOIN splits s ON s.report_id = it.report_id
LEFT JOIN llm_calls k ON k.llm_call_id = it.llm_call_id AND k."error" IS NULL
LEFT JOIN prompts p ON p.prompt_id = coalesce(k.prompt_id, b.prompt_id)
LEFT JOIN runs r ON r.run_id = it.run_id
LEFT JOIN rounds o ON o.round_id = it.round_id;

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
