-- title: Where a label comes from
-- question: Which words, prompt, call and verdict made this label, and what stands in its place now?
-- waits: yes
-- param label = '': the label; without one, the last that an adjudicator gave
-- param report = '': its report, where you know it: in a large store the label is then found at once
SELECT label_id, report_id, target, status, labeler, evidence[1].quote AS quote, prompt,
    prompt_tokens + completion_tokens AS tokens, cost_usd,
    adjudications[1].adjudicator AS adjudicator, adjudications[1].rationale AS rationale,
    superseded_by[-1].labeler AS replaced_by, superseded_by[-1].status AS replaced_with, "current"
FROM label_lineage(coalesce(nullif($label, ''), (
    SELECT max_by(label_id, (created_at, label_id)) FROM adjudications WHERE label_id IS NOT NULL AND $label = '')),
    report := nullif($report, ''))
