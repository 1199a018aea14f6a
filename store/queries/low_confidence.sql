-- title: Labels that their labeler is least sure of
-- question: Which labels are closest to a guess?
-- waits: yes
-- param below = 0.6: only labels less sure than this
-- param most = 50: how many to list
WITH least AS (
    SELECT target, labeler_id, status, confidence, confidence_source, report_id, label_id
    FROM labels
    WHERE confidence < $below
    ORDER BY confidence, report_id, target, labeler_id -- not by label_id, which is long to read
    LIMIT $most
)
SELECT l.target, b.name AS labeler, l.status, round(l.confidence, 3) AS confidence, l.confidence_source AS source,
    l.report_id, l.label_id
FROM least l
JOIN labelers b USING (labeler_id)
ORDER BY l.confidence, l.report_id, l.target, l.labeler_id
