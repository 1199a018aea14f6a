-- title: What a reviewer changed
-- question: Where did a person set another status than a labeler, and what did they write?
-- waits: yes
-- param reviewer = '': one reviewer; without one, all
-- param most = 100: how many to list
WITH steps AS (
    SELECT r.* FROM reviews r ANTI JOIN reviews u ON u.undoes = r.review_id AND u."action" = 'undo'
    WHERE r."action" = 'set' AND (r.reviewer = $reviewer OR $reviewer = '')
    ORDER BY r.decided_at DESC LIMIT $most
)
SELECT s.reviewer, s.report_id, s.target, string_agg(b.name, ', ' ORDER BY b.name) AS labelers, l.status AS said,
    s.status AS set_to, s.note
FROM steps s
JOIN labels l ON l.report_id = s.report_id AND l.task = s.task AND l.target = s.target
JOIN labelers b ON b.labeler_id = l.labeler_id
WHERE b.kind <> 'human' AND l.status <> s.status
GROUP BY s.decided_at, s.review_id, s.reviewer, s.report_id, s.target, l.status, s.status, s.note
ORDER BY s.decided_at, s.review_id, said
