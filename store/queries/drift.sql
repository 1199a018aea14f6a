-- title: How the share of positives drifts from round to round
-- question: Does a student see a finding more often, or more seldom, than that of the round before?
-- waits: no
WITH shares AS (
    SELECT l.target, r.campaign_id, r."round", r.arm, count(*) AS labels,
        avg((l.status = 'present')::INTEGER) AS positives
    FROM labels l
    JOIN rounds r USING (round_id)
    WHERE l.task = 'findings' AND r.arm <> 'linear'
    GROUP BY l.target, r.campaign_id, r."round", r.arm
)
SELECT s.target, left(s.campaign_id, 12) AS campaign, s."round", s.arm, s.labels, round(s.positives, 4) AS positives,
    round(s.positives - b.positives, 4) AS change
FROM shares s
LEFT JOIN shares b ON b.target = s.target AND b.campaign_id = s.campaign_id AND b."round" = s."round" - 1
    AND b.arm = 'feedback'
ORDER BY s.target, campaign, s."round", s.arm
