-- title: What a change of prompt changed
-- question: Which labels flipped between two versions of a prompt, and which way is right where it is curated?
-- waits: no
-- param most = 50: how many to list
WITH prompted AS (
    SELECT b.labeler_id, b.model, b.prompt_id, p.role, p.name, p.created_at
    FROM labelers b JOIN prompts p USING (prompt_id) WHERE b.kind = 'llm'
)
SELECT l.report_id, l.target, a.name AS prompt, l.status AS said, b.name AS other_prompt, m.status AS other_said,
    c.status AS curated
FROM prompted a
JOIN prompted b ON a.role = b.role AND a.model = b.model AND (a.created_at, a.prompt_id) < (b.created_at, b.prompt_id)
JOIN labels l ON l.labeler_id = a.labeler_id
JOIN labels m ON m.labeler_id = b.labeler_id AND m.report_id = l.report_id AND m.task = l.task AND m.target = l.target
LEFT JOIN curated_labels c ON c.report_id = l.report_id AND c.task = l.task AND c.target = l.target
WHERE l.task = 'findings' AND l.status <> m.status
ORDER BY curated IS NULL, l.report_id, l.target, prompt, other_prompt
LIMIT $most
