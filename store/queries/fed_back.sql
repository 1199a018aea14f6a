-- title: What each round fed back, and how right it was
-- question: How many pseudo-labels did each round take and refuse, and how many of those taken are wrong?
-- waits: no
SELECT r."round", r.arm, f.target, count(*) FILTER (f.selected) AS taken, count(*) FILTER (NOT f.selected) AS refused,
    count(c.status) FILTER (f.selected) AS curated, count(*) FILTER (f.selected AND c.status <> f.status) AS wrong,
    round(wrong / nullif(curated, 0), 4) AS wrong_share, any_value(d.promoted) AS promoted
FROM pseudo_labels f
JOIN rounds r USING (round_id)
LEFT JOIN round_decisions d USING (round_id)
LEFT JOIN curated_labels c ON c.report_id = f.report_id AND c.task = f.task AND c.target = f.target
GROUP BY f.round_id, r."round", r.arm, f.target
ORDER BY r."round", r.arm, f.round_id, taken DESC, f.target
