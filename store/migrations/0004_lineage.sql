-- Where a label comes from and where it went, as macros to ask in SQL; and what every table, view and column means,
-- kept in the database itself, so that any tool that opens it can show it.

-- Every label with who gave it, and the corpus and split of its report.
CREATE VIEW label_votes AS
SELECT l.*, b.kind AS labeler_kind, b.name AS labeler, b.model, x.corpus, s.split
FROM labels l
JOIN labelers b USING (labeler_id)
LEFT JOIN reports x USING (report_id)
LEFT JOIN splits s USING (report_id);

-- What each labeler says of a target now: its last label that nobody took back. Setting the same status again gives the
-- same label, so of a reviewer's it is the review that has the time.
CREATE VIEW current_labels AS
WITH undone AS (SELECT undoes AS review_id FROM reviews WHERE "action" = 'undo'),
decided AS (
    SELECT label_id, max(decided_at) FILTER (u.review_id IS NULL) AS decided_at
    FROM reviews r LEFT JOIN undone u USING (review_id)
    WHERE "action" = 'set'
    GROUP BY label_id
)
SELECT l.*, b.kind AS labeler_kind, b.name AS labeler, b.model, coalesce(d.decided_at, l.created_at) AS decided_at
FROM labels l
JOIN labelers b USING (labeler_id)
LEFT JOIN decided d USING (label_id)
WHERE d.label_id IS NULL OR d.decided_at IS NOT NULL
QUALIFY row_number() OVER (
    PARTITION BY l.labeler_id, l.report_id, l.task, l.target
    ORDER BY coalesce(d.decided_at, l.created_at) DESC, l.label_id) = 1;

-- Every pseudo-label that a round took or refused, with the round whose student made it.
CREATE VIEW pseudo_labels AS
SELECT w.round_id, w.report_id, w.task, w.target, w.label_id, w.status, w.weight, w.selected, w.reason,
    l.confidence, l.labeler_id, l.round_id AS made_in, m.adapter_hash AS made_by
FROM training_rows w
JOIN labels l ON l.label_id = w.label_id
LEFT JOIN rounds m ON m.round_id = l.round_id
WHERE w.source = 'pseudo';

CREATE MACRO adapter_rounds(adapter) AS TABLE
WITH named AS (
    SELECT r.* FROM rounds r
    WHERE r.round_id = adapter
        OR (length(adapter) > 0 AND starts_with(r.adapter_hash, adapter))
        OR r.adapter_path = rtrim(adapter, '/')
        OR (length(adapter) > 0 AND ends_with(r.adapter_path, '/' || rtrim(adapter, '/')))
),
counted AS (SELECT count(DISTINCT coalesce(n.adapter_hash, n.round_id)) AS adapters FROM named n)
SELECT n.round_id, n.campaign_id, n."round", n.arm, n.labeler_id, n.adapter_hash, n.adapter_path, n.base, n.teacher_id,
    n.seed, n.run_id, n.created_at, d.promoted, d.reason AS decision
FROM named n
JOIN counted c ON CASE WHEN c.adapters > 1
    THEN error('Several adapters match ''' || adapter || ''': give more of the hash, or the whole path') ELSE true END
LEFT JOIN round_decisions d ON d.round_id = n.round_id;

DROP VIEW adapter_lineage;
CREATE MACRO adapter_lineage(adapter) AS TABLE
SELECT r.adapter_hash, r.adapter_path, r.campaign_id, r."round", r.arm, r.round_id, r.promoted,
    w.report_id, w.task, w.target, w.status, w.source, w.weight, w.reason,
    l.label_id, l.confidence, l.confidence_source, l.scope, l.evidence, l.icd10,
    b.labeler_id, b.kind AS labeler_kind, b.name AS labeler, b.model, l.round_id AS made_in,
    k.llm_call_id, k.prompt_tokens, k.completion_tokens, k.cost_usd, k.response,
    p.prompt_id, p.name AS prompt, p.text AS prompt_text,
    a.adjudication_id, a.rationale, a.weighed,
    x.corpus, x.subject_id, coalesce(x.findings, x.text) AS findings_text, x.impression AS impression_text
FROM adapter_rounds(adapter) r
JOIN training_rows w ON w.round_id = r.round_id
JOIN labels l ON l.label_id = w.label_id
JOIN labelers b ON b.labeler_id = l.labeler_id
JOIN reports x ON x.report_id = l.report_id
LEFT JOIN llm_calls k ON k.llm_call_id = l.llm_call_id AND k."error" IS NULL
LEFT JOIN prompts p ON p.prompt_id = coalesce(k.prompt_id, b.prompt_id)
LEFT JOIN adjudications a ON a.label_id = l.label_id
WHERE w.selected;

CREATE MACRO label_lineage(label_id) AS TABLE
WITH it AS (SELECT l.* FROM labels l WHERE l.label_id = label_id),
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

CREATE MACRO label_impact(label_id) AS TABLE
WITH RECURSIVE it AS (SELECT l.label_id, l.report_id, l.task, l.target, l.status FROM labels l WHERE l.label_id = label_id),
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
    FROM training_rows w JOIN carriers c ON c.label_id = w.label_id
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

-- Of a macro the comment also says what each column means, one a line: it has nowhere else to be.
COMMENT ON TABLE corpora IS 'Where reports come from, and who may see them.';
COMMENT ON COLUMN corpora."corpus" IS 'Name of the corpus.';
COMMENT ON COLUMN corpora."licence" IS 'Under which terms the reports may be used.';
COMMENT ON COLUMN corpora."egress" IS 'Who may see the reports: any, zero-retention or local-only; a model elsewhere is refused for local-only.';
COMMENT ON COLUMN corpora."source" IS 'Where it was read from.';
COMMENT ON COLUMN corpora."source_hash" IS 'Hash of the source.';
COMMENT ON COLUMN corpora."imported_at" IS 'When it was imported.';

COMMENT ON TABLE reports IS 'One radiology report a row, its sections as they were imported.';
COMMENT ON COLUMN reports."report_id" IS 'The report, unique over all corpora.';
COMMENT ON COLUMN reports."corpus" IS 'The corpus of the report; joins corpora.';
COMMENT ON COLUMN reports."subject_id" IS 'The patient, where the corpus tells; NULL where not.';
COMMENT ON COLUMN reports."indication" IS 'Section: why the image was taken.';
COMMENT ON COLUMN reports."comparison" IS 'Section: what it is compared with.';
COMMENT ON COLUMN reports."findings" IS 'Section: what is seen.';
COMMENT ON COLUMN reports."impression" IS 'Section: the conclusion.';
COMMENT ON COLUMN reports."text" IS 'The whole report, for corpora without sections.';
COMMENT ON COLUMN reports."source_file" IS 'The file it was read from.';
COMMENT ON COLUMN reports."imported_at" IS 'When it was imported.';

COMMENT ON TABLE skipped_rows IS 'Rows of imported files that became no report or no label, each with the reason.';
COMMENT ON COLUMN skipped_rows."corpus" IS 'The corpus of the report; joins corpora.';
COMMENT ON COLUMN skipped_rows."file" IS 'The file.';
COMMENT ON COLUMN skipped_rows."row" IS 'Its row.';
COMMENT ON COLUMN skipped_rows."report_id" IS 'The report, where the row names one.';
COMMENT ON COLUMN skipped_rows."reason" IS 'Why it was skipped.';
COMMENT ON COLUMN skipped_rows."imported_at" IS 'When it was imported.';

COMMENT ON TABLE splits IS 'Which split each report is in; near-duplicates and a subject''s reports stay together.';
COMMENT ON COLUMN splits."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN splits."split" IS 'train, calibration, gate or test.';
COMMENT ON COLUMN splits."group_id" IS 'Reports of one group are of one subject or nearly the same text; a group is never divided.';
COMMENT ON COLUMN splits."seed" IS 'What chance was drawn from.';

COMMENT ON TABLE prompts IS 'Every version of every prompt that was ever used, whole.';
COMMENT ON COLUMN prompts."prompt_id" IS 'Hash of role, text and examples: an edited prompt is another prompt.';
COMMENT ON COLUMN prompts."role" IS 'Which agent it is for: llm_labeler, adjudicator and so on.';
COMMENT ON COLUMN prompts."name" IS 'Name of its file.';
COMMENT ON COLUMN prompts."text" IS 'The whole file: front matter and template.';
COMMENT ON COLUMN prompts."created_at" IS 'When it was written.';

COMMENT ON TABLE labelers IS 'Who labels: rules, models under a prompt, adjudicators, students, people; a changed version is another labeler.';
COMMENT ON COLUMN labelers."labeler_id" IS 'Hash of all that makes its output.';
COMMENT ON COLUMN labelers."kind" IS 'rule, llm, adjudicator, student or human.';
COMMENT ON COLUMN labelers."name" IS 'Readable name, such as rule or llm:gpt-4o; for a person the name.';
COMMENT ON COLUMN labelers."version" IS 'Hash or version of what makes the output: rules version, hash of prompt and settings, adapter hash.';
COMMENT ON COLUMN labelers."model" IS 'The model, such as gpt-4o-2024-08-06 or stand-in; NULL for rules and people.';
COMMENT ON COLUMN labelers."prompt_id" IS 'The prompt that it uses; joins prompts; NULL where it uses none.';
COMMENT ON COLUMN labelers."parameters" IS 'What else changes its output: scope, schema, temperature, seed.';
COMMENT ON COLUMN labelers."created_at" IS 'When it was written.';

COMMENT ON TABLE teachers IS 'A teacher is one assembled graph of labelers; teacher_members says which.';
COMMENT ON COLUMN teachers."teacher_id" IS 'Hash of its members.';
COMMENT ON COLUMN teachers."created_at" IS 'When it was written.';

COMMENT ON TABLE teacher_members IS 'Whose votes a teacher weighs, and who decides.';
COMMENT ON COLUMN teacher_members."teacher_id" IS 'The teacher; joins teachers.';
COMMENT ON COLUMN teacher_members."labeler_id" IS 'The member; joins labelers.';
COMMENT ON COLUMN teacher_members."seat" IS 'labeler (votes), adjudicator (decides disputes one by one) or aggregator (decides all targets at once).';
COMMENT ON COLUMN teacher_members."place" IS 'Order of the labelers; where votes differ and nobody decided, the last counts.';

COMMENT ON TABLE runs IS 'Every invocation that wrote labels: its command, settings, version and seed.';
COMMENT ON COLUMN runs."run_id" IS 'The run.';
COMMENT ON COLUMN runs."command" IS 'What was run.';
COMMENT ON COLUMN runs."config" IS 'Its settings.';
COMMENT ON COLUMN runs."version" IS 'Version of Teachback.';
COMMENT ON COLUMN runs."git_revision" IS 'Revision of the source, where it ran from a checkout.';
COMMENT ON COLUMN runs."seed" IS 'What chance was drawn from.';
COMMENT ON COLUMN runs."started_at" IS 'When it started.';

COMMENT ON TABLE run_ends IS 'How each run ended; a run without a row here is running, or was killed.';
COMMENT ON COLUMN run_ends."run_id" IS 'The run; joins runs.';
COMMENT ON COLUMN run_ends."status" IS 'finished, failed or interrupted.';
COMMENT ON COLUMN run_ends."summary" IS 'What it did: counts and the bill.';
COMMENT ON COLUMN run_ends."ended_at" IS 'When it ended.';

COMMENT ON TABLE llm_calls IS 'Every call of a language model, failed ones included: the cache of answers and the bill at once.';
COMMENT ON COLUMN llm_calls."llm_call_id" IS 'Hash of the request: asked again, it is answered from here. Several rows of one id are attempts that failed before one that did not.';
COMMENT ON COLUMN llm_calls."run_id" IS 'The run that made it; joins runs.';
COMMENT ON COLUMN llm_calls."report_id" IS 'The report that was sent; joins reports.';
COMMENT ON COLUMN llm_calls."agent" IS 'Which agent asked: llm_labeler, adjudicator and so on.';
COMMENT ON COLUMN llm_calls."model" IS 'The model, such as gpt-4o-2024-08-06 or stand-in; NULL for rules and people.';
COMMENT ON COLUMN llm_calls."prompt_id" IS 'The prompt; joins prompts.';
COMMENT ON COLUMN llm_calls."response" IS 'The raw answer; NULL where the call failed.';
COMMENT ON COLUMN llm_calls."prompt_tokens" IS 'Tokens sent.';
COMMENT ON COLUMN llm_calls."cached_tokens" IS 'Of prompt_tokens, those that the endpoint had cached.';
COMMENT ON COLUMN llm_calls."completion_tokens" IS 'Tokens answered.';
COMMENT ON COLUMN llm_calls."cost_usd" IS 'US dollars; NULL where the price of the model is not known.';
COMMENT ON COLUMN llm_calls."latency_ms" IS 'Milliseconds from request to answer.';
COMMENT ON COLUMN llm_calls."attempts" IS 'Attempts that the call took.';
COMMENT ON COLUMN llm_calls."error" IS 'Why it failed; NULL where it did not.';
COMMENT ON COLUMN llm_calls."created_at" IS 'When it was written.';
COMMENT ON COLUMN llm_calls."retries" IS 'Why each attempt but the last failed.';
COMMENT ON COLUMN llm_calls."repaired" IS 'Whether the answer is the model''s second one, given after it was shown what was wrong with the first.';
COMMENT ON COLUMN llm_calls."sample" IS 'Which of several answers to the same request it is, from 0.';
COMMENT ON COLUMN llm_calls."batch_id" IS 'The batch that it came in; joins batches; NULL for a live call.';

COMMENT ON TABLE batches IS 'Requests that were handed in together, to be answered within a day at half the price.';
COMMENT ON COLUMN batches."batch_id" IS 'The batch.';
COMMENT ON COLUMN batches."endpoint" IS 'Where it was handed in.';
COMMENT ON COLUMN batches."model" IS 'The model, such as gpt-4o-2024-08-06 or stand-in; NULL for rules and people.';
COMMENT ON COLUMN batches."requests" IS 'Number of requests.';
COMMENT ON COLUMN batches."run_id" IS 'The run that handed it in; joins runs.';
COMMENT ON COLUMN batches."created_at" IS 'Written before the endpoint was told.';

COMMENT ON TABLE batch_requests IS 'Which requests a batch holds.';
COMMENT ON COLUMN batch_requests."batch_id" IS 'The batch; joins batches.';
COMMENT ON COLUMN batch_requests."custom_id" IS 'The name of the request within the batch.';
COMMENT ON COLUMN batch_requests."llm_call_id" IS 'The call that it asks for; joins llm_calls.';
COMMENT ON COLUMN batch_requests."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN batch_requests."agent" IS 'Which agent asked: llm_labeler, adjudicator and so on.';
COMMENT ON COLUMN batch_requests."prompt_id" IS 'The prompt; joins prompts.';
COMMENT ON COLUMN batch_requests."sample" IS 'Which of several answers to the same request it is, from 0.';

COMMENT ON TABLE batch_events IS 'What was learnt of a batch after it was handed in, one row a step.';
COMMENT ON COLUMN batch_events."batch_id" IS 'The batch; joins batches.';
COMMENT ON COLUMN batch_events."event" IS 'submitted, completed, failed, expired, cancelled or lost.';
COMMENT ON COLUMN batch_events."endpoint_batch_id" IS 'What the endpoint calls the batch.';
COMMENT ON COLUMN batch_events."answered" IS 'Requests that were answered.';
COMMENT ON COLUMN batch_events."refused" IS 'Requests that were not.';
COMMENT ON COLUMN batch_events."reason" IS 'Why.';
COMMENT ON COLUMN batch_events."created_at" IS 'When it was learnt.';

COMMENT ON TABLE labels IS 'One labeler''s status for one target of one report a row. Append-only: a label is never changed, only superseded.';
COMMENT ON COLUMN labels."label_id" IS 'Hash of the content: the same verdict by the same labeler on the same scope is one label.';
COMMENT ON COLUMN labels."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN labels."task" IS 'findings (the closed set of 13) or diseases (open-ended).';
COMMENT ON COLUMN labels."target" IS 'What is labelled: one of the 13 findings, or a disease phrase.';
COMMENT ON COLUMN labels."icd10" IS 'ICD-10-CM code as it was given; NULL for findings.';
COMMENT ON COLUMN labels."status" IS 'present, absent, uncertain or unmentioned.';
COMMENT ON COLUMN labels."confidence" IS 'Probability of the status, 0 to 1; NULL where the labeler has none, with the reason in confidence_note.';
COMMENT ON COLUMN labels."confidence_source" IS 'Where the confidence comes from: logprob, vote, self_report or rule; NULL where there is none.';
COMMENT ON COLUMN labels."confidence_note" IS 'Why there is no confidence, or what it means.';
COMMENT ON COLUMN labels."probs" IS 'Probability of each status, where the labeler gives all four.';
COMMENT ON COLUMN labels."evidence" IS 'The spans that it rests on: section, offsets in that section (-1 where the quote is not in the report), the words, and the cue.';
COMMENT ON COLUMN labels."scope" IS 'The sections that it was made from: impression, full (findings and impression) or mimic (impression, else findings, else the last paragraph).';
COMMENT ON COLUMN labels."labeler_id" IS 'Who gave it; joins labelers.';
COMMENT ON COLUMN labels."run_id" IS 'The run that wrote it; joins runs.';
COMMENT ON COLUMN labels."round_id" IS 'The round whose student gave it; joins rounds; NULL for all others.';
COMMENT ON COLUMN labels."llm_call_id" IS 'The call that gave it; joins llm_calls; NULL where none did.';
COMMENT ON COLUMN labels."created_at" IS 'When it was written. Of two labels by one labeler on one target the later holds.';
COMMENT ON COLUMN labels."icd10_check" IS 'What a table of ICD-10-CM says of the code: billable, category (too short to bill) or unknown; NULL where there is no code or nobody looked.';

COMMENT ON TABLE committed IS 'One row when a teacher is done with a report, written in the transaction that holds the labels.';
COMMENT ON COLUMN committed."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN committed."teacher_id" IS 'The teacher; joins teachers.';
COMMENT ON COLUMN committed."run_id" IS 'The run that committed it; joins runs.';
COMMENT ON COLUMN committed."committed_at" IS 'When.';

COMMENT ON TABLE failures IS 'What a labeler could not do for a report; retried by the next run.';
COMMENT ON COLUMN failures."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN failures."labeler_id" IS 'Who failed; joins labelers.';
COMMENT ON COLUMN failures."run_id" IS 'The run; joins runs.';
COMMENT ON COLUMN failures."reason" IS 'What went wrong.';
COMMENT ON COLUMN failures."llm_call_id" IS 'The call that failed; joins llm_calls; NULL where none did.';
COMMENT ON COLUMN failures."created_at" IS 'When it was written.';

COMMENT ON TABLE adjudications IS 'What an adjudicator decided of each disputed target, which labels it weighed, and why.';
COMMENT ON COLUMN adjudications."adjudication_id" IS 'The adjudication.';
COMMENT ON COLUMN adjudications."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN adjudications."task" IS 'findings (the closed set of 13) or diseases (open-ended).';
COMMENT ON COLUMN adjudications."target" IS 'What is labelled: one of the 13 findings, or a disease phrase.';
COMMENT ON COLUMN adjudications."labeler_id" IS 'The adjudicator; joins labelers.';
COMMENT ON COLUMN adjudications."label_id" IS 'The label that it gave; joins labels; NULL where it could not tell.';
COMMENT ON COLUMN adjudications."weighed" IS 'The label_ids that were weighed; each joins labels.';
COMMENT ON COLUMN adjudications."verdict" IS 'A status, or cannot_tell.';
COMMENT ON COLUMN adjudications."rationale" IS 'Why, in the words of the adjudicator.';
COMMENT ON COLUMN adjudications."llm_call_id" IS 'The call that gave it; joins llm_calls; NULL where none did.';
COMMENT ON COLUMN adjudications."run_id" IS 'The run that wrote it; joins runs.';
COMMENT ON COLUMN adjudications."created_at" IS 'When it was written.';

COMMENT ON TABLE rounds IS 'One student of a campaign a row: a distillation round and its arm.';
COMMENT ON COLUMN rounds."round_id" IS 'The round.';
COMMENT ON COLUMN rounds."campaign_id" IS 'The campaign; its rounds share it.';
COMMENT ON COLUMN rounds."round" IS 'Number of the round, from 1.';
COMMENT ON COLUMN rounds."arm" IS 'feedback (fed with pseudo-labels), control (the same budget without them) or linear (a bag of words).';
COMMENT ON COLUMN rounds."labeler_id" IS 'Its student as a labeler; joins labelers.';
COMMENT ON COLUMN rounds."adapter_hash" IS 'Hash of the content of the adapter; NULL for the linear student, which has none.';
COMMENT ON COLUMN rounds."adapter_path" IS 'Where the adapter was written.';
COMMENT ON COLUMN rounds."base" IS 'The model that was trained.';
COMMENT ON COLUMN rounds."teacher_id" IS 'Whose labels it learnt from; joins teachers.';
COMMENT ON COLUMN rounds."rows_hash" IS 'Hash of its training rows, where one was kept.';
COMMENT ON COLUMN rounds."config" IS 'Settings of the campaign.';
COMMENT ON COLUMN rounds."seed" IS 'What chance was drawn from.';
COMMENT ON COLUMN rounds."run_id" IS 'The run that wrote it; joins runs.';
COMMENT ON COLUMN rounds."created_at" IS 'When it was written.';

COMMENT ON TABLE round_decisions IS 'What the gate decided of a round.';
COMMENT ON COLUMN round_decisions."round_id" IS 'The distillation round; joins rounds.';
COMMENT ON COLUMN round_decisions."promoted" IS 'Whether it became the champion; if not, its pseudo-labels are void.';
COMMENT ON COLUMN round_decisions."champion_round_id" IS 'The new champion, where the decision made one; joins rounds.';
COMMENT ON COLUMN round_decisions."reason" IS 'Why, with the figures.';
COMMENT ON COLUMN round_decisions."figures" IS 'The changes with their intervals.';
COMMENT ON COLUMN round_decisions."created_at" IS 'When it was written.';

COMMENT ON TABLE training_rows IS 'Every label that a round trained on, and every pseudo-label that it refused, each with the reason.';
COMMENT ON COLUMN training_rows."round_id" IS 'The round that trained; joins rounds.';
COMMENT ON COLUMN training_rows."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN training_rows."task" IS 'findings (the closed set of 13) or diseases (open-ended).';
COMMENT ON COLUMN training_rows."target" IS 'What is labelled: one of the 13 findings, or a disease phrase.';
COMMENT ON COLUMN training_rows."label_id" IS 'The label that it trained on; joins labels.';
COMMENT ON COLUMN training_rows."scope" IS 'The sections of the report that were shown with it.';
COMMENT ON COLUMN training_rows."status" IS 'The status that was taught.';
COMMENT ON COLUMN training_rows."source" IS 'teacher, curated or pseudo.';
COMMENT ON COLUMN training_rows."weight" IS 'Weight in the training loss; 0 where it was refused.';
COMMENT ON COLUMN training_rows."selected" IS 'Whether the round trained on it.';
COMMENT ON COLUMN training_rows."reason" IS 'Why it was taken, or refused.';

COMMENT ON TABLE evaluations IS 'Figures of a labeler or a round on a split, with intervals, one metric a row.';
COMMENT ON COLUMN evaluations."evaluation_id" IS 'Hash of the row.';
COMMENT ON COLUMN evaluations."subject" IS 'Who is measured, in words: a labeler, teacher, or round 1.';
COMMENT ON COLUMN evaluations."labeler_id" IS 'Who is measured, where it is one labeler; joins labelers.';
COMMENT ON COLUMN evaluations."round_id" IS 'The round that is measured, if one is; joins rounds.';
COMMENT ON COLUMN evaluations."split" IS 'train, calibration, gate or test.';
COMMENT ON COLUMN evaluations."task" IS 'findings (the closed set of 13) or diseases (open-ended).';
COMMENT ON COLUMN evaluations."target" IS 'The target, or which average over all of them.';
COMMENT ON COLUMN evaluations."metric" IS 'f1, precision, recall, micro_f1, macro_f1; delta_ is a paired change.';
COMMENT ON COLUMN evaluations."n" IS 'Reports.';
COMMENT ON COLUMN evaluations."positives" IS 'Curated positives among them.';
COMMENT ON COLUMN evaluations."value" IS 'The figure; NULL where it cannot be computed.';
COMMENT ON COLUMN evaluations."low" IS 'Lower end of the interval.';
COMMENT ON COLUMN evaluations."high" IS 'Upper end of the interval.';
COMMENT ON COLUMN evaluations."note" IS 'What it is compared with, or why there is no figure.';
COMMENT ON COLUMN evaluations."created_at" IS 'When it was written.';

COMMENT ON TABLE looks IS 'Each time somebody compared something on a split: the more often, the less its figures say about new reports.';
COMMENT ON COLUMN looks."look_id" IS 'The look.';
COMMENT ON COLUMN looks."split" IS 'What was looked at.';
COMMENT ON COLUMN looks."command" IS 'What was run.';
COMMENT ON COLUMN looks."compared" IS 'Ids of what was compared.';
COMMENT ON COLUMN looks."reports" IS 'Reports that it was compared on.';
COMMENT ON COLUMN looks."run_id" IS 'The run; joins runs; NULL where there was none.';
COMMENT ON COLUMN looks."created_at" IS 'When it was written.';

COMMENT ON TABLE reviews IS 'Every step of a reviewer. Append-only: an undo is a further step.';
COMMENT ON COLUMN reviews."review_id" IS 'The step.';
COMMENT ON COLUMN reviews."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN reviews."task" IS 'The task; NULL where it is about the whole report.';
COMMENT ON COLUMN reviews."target" IS 'The target; NULL where it is about the whole report.';
COMMENT ON COLUMN reviews."action" IS 'set (gives a status), skip, note, or undo (takes an earlier step back).';
COMMENT ON COLUMN reviews."status" IS 'The status that was set.';
COMMENT ON COLUMN reviews."label_id" IS 'The curated label that a set appended; joins labels.';
COMMENT ON COLUMN reviews."accepts" IS 'The label_id that the reviewer agreed with, where one was accepted; joins labels.';
COMMENT ON COLUMN reviews."undoes" IS 'The review_id of the step that is taken back; joins reviews.';
COMMENT ON COLUMN reviews."reviewer" IS 'The person''s name.';
COMMENT ON COLUMN reviews."labeler_id" IS 'The reviewer as a labeler; joins labelers.';
COMMENT ON COLUMN reviews."note" IS 'What the reviewer wrote.';
COMMENT ON COLUMN reviews."why" IS 'Why it was shown, such as cannot_tell.';
COMMENT ON COLUMN reviews."blind" IS 'Whether the votes were hidden.';
COMMENT ON COLUMN reviews."seconds" IS 'How long the reviewer looked at it.';
COMMENT ON COLUMN reviews."plan_id" IS 'The audit plan that drew it; joins audit_plans; NULL where none did.';
COMMENT ON COLUMN reviews."decided_at" IS 'When it was decided.';

COMMENT ON TABLE audit_plans IS 'A plan of review: whose error rate is to be estimated, and how exactly.';
COMMENT ON COLUMN audit_plans."plan_id" IS 'Hash of the plan.';
COMMENT ON COLUMN audit_plans."name" IS 'What it is called.';
COMMENT ON COLUMN audit_plans."labeler_ids" IS 'Who is judged; each joins labelers.';
COMMENT ON COLUMN audit_plans."precision" IS 'The share of right labels that is expected.';
COMMENT ON COLUMN audit_plans."margin" IS 'Half the width of the interval that is asked for.';
COMMENT ON COLUMN audit_plans."level" IS 'Confidence of the interval, such as 0.95.';
COMMENT ON COLUMN audit_plans."config" IS 'All settings, and who is judged.';
COMMENT ON COLUMN audit_plans."seed" IS 'What chance was drawn from.';
COMMENT ON COLUMN audit_plans."run_id" IS 'The run; joins runs; NULL where there was none.';
COMMENT ON COLUMN audit_plans."created_at" IS 'When it was written.';

COMMENT ON TABLE audit_strata IS 'A plan''s strata: all of one labeler''s labels of one status of one target, and how many of them were drawn.';
COMMENT ON COLUMN audit_strata."plan_id" IS 'The audit plan; joins audit_plans.';
COMMENT ON COLUMN audit_strata."stratum" IS 'Name of the stratum, unique within the plan.';
COMMENT ON COLUMN audit_strata."labeler_id" IS 'Who is judged; joins labelers.';
COMMENT ON COLUMN audit_strata."task" IS 'findings (the closed set of 13) or diseases (open-ended).';
COMMENT ON COLUMN audit_strata."target" IS 'What is labelled: one of the 13 findings, or a disease phrase.';
COMMENT ON COLUMN audit_strata."status" IS 'present, absent, uncertain or unmentioned.';
COMMENT ON COLUMN audit_strata."population" IS 'Labels in it.';
COMMENT ON COLUMN audit_strata."drawn" IS 'Labels drawn from it.';

COMMENT ON TABLE audit_items IS 'The labels that a plan drew, in the order of review.';
COMMENT ON COLUMN audit_items."plan_id" IS 'The audit plan; joins audit_plans.';
COMMENT ON COLUMN audit_items."place" IS 'Place in the order of review; each beginning of it is a smaller plan of the same kind.';
COMMENT ON COLUMN audit_items."stratum" IS 'The stratum: with plan_id the key of audit_strata.';
COMMENT ON COLUMN audit_items."label_id" IS 'The label that is judged; joins labels.';
COMMENT ON COLUMN audit_items."labeler_id" IS 'Who is judged; joins labelers.';
COMMENT ON COLUMN audit_items."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN audit_items."task" IS 'findings (the closed set of 13) or diseases (open-ended).';
COMMENT ON COLUMN audit_items."target" IS 'What is labelled: one of the 13 findings, or a disease phrase.';

COMMENT ON TABLE migrations IS 'Which versions of the schema were applied, and when.';
COMMENT ON COLUMN migrations."version" IS 'Number of the migration.';
COMMENT ON COLUMN migrations."applied_at" IS 'When.';

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

COMMENT ON VIEW curated_labels IS 'The curated label of each target: of several people''s labels the latest. What all quality is measured against.';
COMMENT ON COLUMN curated_labels."label_id" IS 'The label; joins labels.';
COMMENT ON COLUMN curated_labels."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN curated_labels."task" IS 'findings (the closed set of 13) or diseases (open-ended).';
COMMENT ON COLUMN curated_labels."target" IS 'What is labelled: one of the 13 findings, or a disease phrase.';
COMMENT ON COLUMN curated_labels."icd10" IS 'ICD-10-CM code as it was given; NULL for findings.';
COMMENT ON COLUMN curated_labels."status" IS 'present, absent, uncertain or unmentioned.';
COMMENT ON COLUMN curated_labels."confidence" IS 'Probability of the status, 0 to 1; NULL where the labeler has none, with the reason in confidence_note.';
COMMENT ON COLUMN curated_labels."confidence_source" IS 'Where the confidence comes from: logprob, vote, self_report or rule; NULL where there is none.';
COMMENT ON COLUMN curated_labels."confidence_note" IS 'Why there is no confidence, or what it means.';
COMMENT ON COLUMN curated_labels."probs" IS 'Probability of each status, where the labeler gives all four.';
COMMENT ON COLUMN curated_labels."evidence" IS 'The spans that it rests on: section, offsets in that section (-1 where the quote is not in the report), the words, and the cue.';
COMMENT ON COLUMN curated_labels."scope" IS 'The sections that it was made from: impression, full (findings and impression) or mimic (impression, else findings, else the last paragraph).';
COMMENT ON COLUMN curated_labels."labeler_id" IS 'Who gave it; joins labelers.';
COMMENT ON COLUMN curated_labels."run_id" IS 'The run that wrote it; joins runs.';
COMMENT ON COLUMN curated_labels."round_id" IS 'The round whose student gave it; joins rounds; NULL for all others.';
COMMENT ON COLUMN curated_labels."llm_call_id" IS 'The call that gave it; joins llm_calls; NULL where none did.';
COMMENT ON COLUMN curated_labels."created_at" IS 'When it was written. Of two labels by one labeler on one target the later holds.';
COMMENT ON COLUMN curated_labels."icd10_check" IS 'What a table of ICD-10-CM says of the code: billable, category (too short to bill) or unknown; NULL where there is no code or nobody looked.';

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

COMMENT ON VIEW review_queue IS 'What waits for a person: targets of which an adjudicator could not tell, and nobody has decided since.';
COMMENT ON COLUMN review_queue."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN review_queue."task" IS 'findings (the closed set of 13) or diseases (open-ended).';
COMMENT ON COLUMN review_queue."target" IS 'What is labelled: one of the 13 findings, or a disease phrase.';
COMMENT ON COLUMN review_queue."why" IS 'Why it waits: cannot_tell.';
COMMENT ON COLUMN review_queue."rationale" IS 'Why, in the words of the adjudicator.';
COMMENT ON COLUMN review_queue."weighed" IS 'The label_ids that were weighed; each joins labels.';
COMMENT ON COLUMN review_queue."adjudication_id" IS 'The adjudication; joins adjudications.';
COMMENT ON COLUMN review_queue."labeler_id" IS 'The adjudicator; joins labelers.';
COMMENT ON COLUMN review_queue."created_at" IS 'When it was written.';

COMMENT ON VIEW doubtful_labels IS 'Labels whose evidence is not in their report, or whose code is not in the table of codes.';
COMMENT ON COLUMN doubtful_labels."label_id" IS 'The label; joins labels.';
COMMENT ON COLUMN doubtful_labels."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN doubtful_labels."task" IS 'findings (the closed set of 13) or diseases (open-ended).';
COMMENT ON COLUMN doubtful_labels."target" IS 'What is labelled: one of the 13 findings, or a disease phrase.';
COMMENT ON COLUMN doubtful_labels."status" IS 'present, absent, uncertain or unmentioned.';
COMMENT ON COLUMN doubtful_labels."labeler_id" IS 'Who gave it; joins labelers.';
COMMENT ON COLUMN doubtful_labels."quote" IS 'The words of the first span of evidence.';
COMMENT ON COLUMN doubtful_labels."icd10" IS 'ICD-10-CM code as it was given; NULL for findings.';
COMMENT ON COLUMN doubtful_labels."icd10_check" IS 'What a table of ICD-10-CM says of the code: billable, category (too short to bill) or unknown; NULL where there is no code or nobody looked.';
COMMENT ON COLUMN doubtful_labels."ungrounded" IS 'Whether a span of the evidence is not in the report.';

COMMENT ON VIEW bill IS 'What the calls of each run, agent and model cost.';
COMMENT ON COLUMN bill."run_id" IS 'The run that wrote it; joins runs.';
COMMENT ON COLUMN bill."agent" IS 'Which agent asked: llm_labeler, adjudicator and so on.';
COMMENT ON COLUMN bill."model" IS 'The model, such as gpt-4o-2024-08-06 or stand-in; NULL for rules and people.';
COMMENT ON COLUMN bill."calls" IS 'Calls.';
COMMENT ON COLUMN bill."failed" IS 'Of them, those that failed.';
COMMENT ON COLUMN bill."prompt_tokens" IS 'Tokens sent.';
COMMENT ON COLUMN bill."completion_tokens" IS 'Tokens answered.';
COMMENT ON COLUMN bill."cost_usd" IS 'US dollars, of the calls whose price is known.';
COMMENT ON COLUMN bill."median_latency_ms" IS 'Median of milliseconds from request to answer.';

COMMENT ON VIEW label_votes IS 'Every label with who gave it, and the corpus and split of its report.';
COMMENT ON COLUMN label_votes."label_id" IS 'The label; joins labels.';
COMMENT ON COLUMN label_votes."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN label_votes."task" IS 'findings (the closed set of 13) or diseases (open-ended).';
COMMENT ON COLUMN label_votes."target" IS 'What is labelled: one of the 13 findings, or a disease phrase.';
COMMENT ON COLUMN label_votes."icd10" IS 'ICD-10-CM code as it was given; NULL for findings.';
COMMENT ON COLUMN label_votes."status" IS 'present, absent, uncertain or unmentioned.';
COMMENT ON COLUMN label_votes."confidence" IS 'Probability of the status, 0 to 1; NULL where the labeler has none, with the reason in confidence_note.';
COMMENT ON COLUMN label_votes."confidence_source" IS 'Where the confidence comes from: logprob, vote, self_report or rule; NULL where there is none.';
COMMENT ON COLUMN label_votes."confidence_note" IS 'Why there is no confidence, or what it means.';
COMMENT ON COLUMN label_votes."probs" IS 'Probability of each status, where the labeler gives all four.';
COMMENT ON COLUMN label_votes."evidence" IS 'The spans that it rests on: section, offsets in that section (-1 where the quote is not in the report), the words, and the cue.';
COMMENT ON COLUMN label_votes."scope" IS 'The sections that it was made from: impression, full (findings and impression) or mimic (impression, else findings, else the last paragraph).';
COMMENT ON COLUMN label_votes."labeler_id" IS 'Who gave it; joins labelers.';
COMMENT ON COLUMN label_votes."run_id" IS 'The run that wrote it; joins runs.';
COMMENT ON COLUMN label_votes."round_id" IS 'The round whose student gave it; joins rounds; NULL for all others.';
COMMENT ON COLUMN label_votes."llm_call_id" IS 'The call that gave it; joins llm_calls; NULL where none did.';
COMMENT ON COLUMN label_votes."created_at" IS 'When it was written. Of two labels by one labeler on one target the later holds.';
COMMENT ON COLUMN label_votes."icd10_check" IS 'What a table of ICD-10-CM says of the code: billable, category (too short to bill) or unknown; NULL where there is no code or nobody looked.';
COMMENT ON COLUMN label_votes."labeler_kind" IS 'rule, llm, adjudicator, student or human.';
COMMENT ON COLUMN label_votes."labeler" IS 'Name of the labeler, such as rule or llm:gpt-4o.';
COMMENT ON COLUMN label_votes."model" IS 'The model, such as gpt-4o-2024-08-06 or stand-in; NULL for rules and people.';
COMMENT ON COLUMN label_votes."corpus" IS 'The corpus of the report; joins corpora.';
COMMENT ON COLUMN label_votes."split" IS 'train, calibration, gate or test.';

COMMENT ON VIEW current_labels IS 'What each labeler says of a target now: its last label that nobody took back.';
COMMENT ON COLUMN current_labels."label_id" IS 'The label; joins labels.';
COMMENT ON COLUMN current_labels."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN current_labels."task" IS 'findings (the closed set of 13) or diseases (open-ended).';
COMMENT ON COLUMN current_labels."target" IS 'What is labelled: one of the 13 findings, or a disease phrase.';
COMMENT ON COLUMN current_labels."icd10" IS 'ICD-10-CM code as it was given; NULL for findings.';
COMMENT ON COLUMN current_labels."status" IS 'present, absent, uncertain or unmentioned.';
COMMENT ON COLUMN current_labels."confidence" IS 'Probability of the status, 0 to 1; NULL where the labeler has none, with the reason in confidence_note.';
COMMENT ON COLUMN current_labels."confidence_source" IS 'Where the confidence comes from: logprob, vote, self_report or rule; NULL where there is none.';
COMMENT ON COLUMN current_labels."confidence_note" IS 'Why there is no confidence, or what it means.';
COMMENT ON COLUMN current_labels."probs" IS 'Probability of each status, where the labeler gives all four.';
COMMENT ON COLUMN current_labels."evidence" IS 'The spans that it rests on: section, offsets in that section (-1 where the quote is not in the report), the words, and the cue.';
COMMENT ON COLUMN current_labels."scope" IS 'The sections that it was made from: impression, full (findings and impression) or mimic (impression, else findings, else the last paragraph).';
COMMENT ON COLUMN current_labels."labeler_id" IS 'Who gave it; joins labelers.';
COMMENT ON COLUMN current_labels."run_id" IS 'The run that wrote it; joins runs.';
COMMENT ON COLUMN current_labels."round_id" IS 'The round whose student gave it; joins rounds; NULL for all others.';
COMMENT ON COLUMN current_labels."llm_call_id" IS 'The call that gave it; joins llm_calls; NULL where none did.';
COMMENT ON COLUMN current_labels."created_at" IS 'When it was written. Of two labels by one labeler on one target the later holds.';
COMMENT ON COLUMN current_labels."icd10_check" IS 'What a table of ICD-10-CM says of the code: billable, category (too short to bill) or unknown; NULL where there is no code or nobody looked.';
COMMENT ON COLUMN current_labels."labeler_kind" IS 'rule, llm, adjudicator, student or human.';
COMMENT ON COLUMN current_labels."labeler" IS 'Name of the labeler, such as rule or llm:gpt-4o.';
COMMENT ON COLUMN current_labels."model" IS 'The model, such as gpt-4o-2024-08-06 or stand-in; NULL for rules and people.';
COMMENT ON COLUMN current_labels."decided_at" IS 'When it was decided, for a reviewer; else when it was written.';

COMMENT ON VIEW pseudo_labels IS 'Every pseudo-label that a round took or refused, with the round whose student made it.';
COMMENT ON COLUMN pseudo_labels."round_id" IS 'The round that took or refused it; joins rounds.';
COMMENT ON COLUMN pseudo_labels."report_id" IS 'The report; joins reports.';
COMMENT ON COLUMN pseudo_labels."task" IS 'findings (the closed set of 13) or diseases (open-ended).';
COMMENT ON COLUMN pseudo_labels."target" IS 'What is labelled: one of the 13 findings, or a disease phrase.';
COMMENT ON COLUMN pseudo_labels."label_id" IS 'The label; joins labels.';
COMMENT ON COLUMN pseudo_labels."status" IS 'present, absent, uncertain or unmentioned.';
COMMENT ON COLUMN pseudo_labels."weight" IS 'Weight in the training loss; 0 where it was refused.';
COMMENT ON COLUMN pseudo_labels."selected" IS 'Whether the round trained on it.';
COMMENT ON COLUMN pseudo_labels."reason" IS 'The threshold that certified it, or why it was refused.';
COMMENT ON COLUMN pseudo_labels."confidence" IS 'Probability of the status, 0 to 1; NULL where the labeler has none, with the reason in confidence_note.';
COMMENT ON COLUMN pseudo_labels."labeler_id" IS 'The student; joins labelers.';
COMMENT ON COLUMN pseudo_labels."made_in" IS 'The round whose student gave the label; joins rounds by round_id.';
COMMENT ON COLUMN pseudo_labels."made_by" IS 'Hash of the adapter that gave it.';

COMMENT ON MACRO TABLE label_lineage IS 'Where a label comes from, and what came after it: one row, or none where there is no such label.
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

COMMENT ON MACRO TABLE adapter_rounds IS 'The rounds that an adapter is of. An adapter is named by its hash, a beginning of the hash that no other has, its path or the end of that; a student without one, such as the linear one, by its round_id.
round_id: The round.
campaign_id: The campaign; its rounds share it.
round: Number of the round, from 1.
arm: feedback (fed with pseudo-labels), control (the same budget without them) or linear (a bag of words).
labeler_id: Its student as a labeler.
adapter_hash: Hash of the content of the adapter; NULL for the linear student, which has none.
adapter_path: Where the adapter was written.
base: The model that was trained.
teacher_id: Whose labels it learnt from.
seed: What chance was drawn from.
run_id: The run.
created_at: When it was written.
promoted: Whether it became the champion; NULL where it did not stand for it.
decision: Why, with the figures.';

COMMENT ON MACRO TABLE adapter_lineage IS 'Everything that made an adapter: one row a label that it was trained on, with its call, prompt, adjudication and report. An adapter is named as for adapter_rounds.
adapter_hash: Hash of the content of the adapter; NULL for the linear student, which has none.
adapter_path: Where the adapter was written.
campaign_id: The campaign; its rounds share it.
round: Number of the round, from 1.
arm: feedback (fed with pseudo-labels), control (the same budget without them) or linear (a bag of words).
round_id: The round.
promoted: Whether the round became the champion; NULL where it did not stand for it.
report_id: The report.
task: findings (the closed set of 13) or diseases (open-ended).
target: What is labelled: one of the 13 findings, or a disease phrase.
status: The status that was taught.
source: teacher, curated or pseudo.
weight: Weight in the training loss.
reason: Why it was taken.
label_id: The label.
confidence: Probability of the status, 0 to 1; NULL where the labeler has none, with the reason in confidence_note.
confidence_source: Where the confidence comes from: logprob, vote, self_report or rule; NULL where there is none.
scope: The sections that it was made from: impression, full (findings and impression) or mimic (impression, else findings, else the last paragraph).
evidence: The spans that it rests on: section, offsets in that section (-1 where the quote is not in the report), the words, and the cue.
icd10: ICD-10-CM code as it was given; NULL for findings.
labeler_id: Who gave it; joins labelers.
labeler_kind: rule, llm, adjudicator, student or human.
labeler: Name of the labeler, such as rule or llm:gpt-4o.
model: The model, such as gpt-4o-2024-08-06 or stand-in; NULL for rules and people.
made_in: The round whose student gave it, for a pseudo-label.
llm_call_id: The call that gave the label.
prompt_tokens: Tokens sent.
completion_tokens: Tokens answered.
cost_usd: US dollars of the whole call.
response: What the model answered, as it came.
prompt_id: The prompt that was asked.
prompt: Its name.
prompt_text: The whole prompt file.
adjudication_id: The adjudication that gave the label.
rationale: Why, in the words of the adjudicator.
weighed: The label_ids that were weighed.
corpus: The corpus of the report.
subject_id: The patient.
findings_text: The findings section, or the whole text.
impression_text: The impression section.';

COMMENT ON MACRO TABLE label_impact IS 'What became of a label: one row a thing that it had a part in. Of kind verdict: labels of an adjudicator that weighed it and came out as it says. Of kind adapter: students trained on it or on such a verdict (direct), or on pseudo-labels of those (not direct). Of kind pseudo-label: labels of those students that a round took or refused.
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
