-- title: Evidence that is not in the report
-- question: Which labels quote words that their report does not hold?
-- waits: yes
-- param most = 50: how many to list
WITH lost AS (
    SELECT report_id, target, status, labeler_id, evidence, label_id
    FROM labels
    WHERE len(list_filter(evidence, lambda e: e."start" < 0)) > 0
    ORDER BY report_id, target, labeler_id
    LIMIT $most
)
SELECT l.report_id, l.target, l.status, b.name AS labeler,
    list_filter(l.evidence, lambda e: e."start" < 0)[1].quote AS quote, l.label_id
FROM lost l
JOIN labelers b USING (labeler_id)
ORDER BY l.report_id, l.target, l.labeler_id
