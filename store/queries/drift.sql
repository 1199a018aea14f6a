-- title: How the share of positives drifts from round to round
-- question: Does a student come to see a finding more often, or more seldom, than the round before?
-- waits: no
SELECT l.target, r.campaign_id, r.arm, r."round", count(*) AS labels,
    round(avg((l.status = 'present')::INTEGER), 4) AS positives,
    round(positives - lag(positives) OVER (PARTITION BY r.campaign_id, l.target ORDER BY r."round", r.arm), 4) AS change
FROM labels l
JOIN rounds r USING (round_id)
WHERE l.task = 'findings' AND r.arm <> 'linear'
GROUP BY l.target, r.campaign_id, r.arm, r."round"
ORDER BY l.target, r.campaign_id, r."round", r.arm
