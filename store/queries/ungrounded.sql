-- title: Evidence that is not in the report
-- question: Which labels quote words that their report does not hold?
-- waits: no
-- param most = 50: how many to list
SELECT d.report_id, d.target, d.status, b.name AS labeler, d.quote, d.label_id
FROM doubtful_labels d
JOIN labelers b USING (labeler_id)
WHERE d.ungrounded
ORDER BY d.report_id, d.target, labeler, d.label_id
LIMIT $most
