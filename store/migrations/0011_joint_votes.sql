-- Who said what together, counted once: agreement of all labelers is read off the few combinations that occur, not off
-- every pair of ten million labels.
CREATE VIEW joint_votes AS
WITH who AS (
    SELECT labeler_id, kind, (row_number() OVER (ORDER BY labeler_id) - 1)::UINTEGER AS place FROM labelers
),
-- What a labeler said, in one number.
said AS (
    SELECT l.report_id, l.target, w.place, l.created_at, l.label_id,
        4 * w.place + list_position(['present', 'absent', 'uncertain', 'unmentioned'], l.status)::UINTEGER - 1 AS vote
    FROM labels l JOIN who w ON w.labeler_id = l.labeler_id
    WHERE l.task = 'findings' AND w.kind <> 'human'
    UNION ALL
    SELECT l.report_id, l.target, w.place, l.created_at, l.label_id,
        4 * w.place + list_position(['present', 'absent', 'uncertain', 'unmentioned'], l.status)::UINTEGER - 1
    FROM human_labels l JOIN who w ON w.labeler_id = l.labeler_id
    WHERE l.task = 'findings'
),
cells AS MATERIALIZED (
    SELECT report_id, target, list(vote) AS votes, bit_count(bit_or(1::HUGEINT << (place % 120)::INTEGER)) < count(*) AS again
    FROM said
    GROUP BY report_id, target
),
-- Where a labeler may have spoken twice (or where there are so many that two share a bit), the last word counts.
last_said AS (
    SELECT s.report_id, s.target, s.vote
    FROM said s
    SEMI JOIN (FROM cells WHERE again) c ON c.report_id = s.report_id AND c.target = s.target
    QUALIFY row_number() OVER (PARTITION BY s.report_id, s.target, s.place ORDER BY s.created_at DESC, s.label_id) = 1
),
counted AS (
    SELECT target, votes, count(*) AS cells FROM cells WHERE NOT again GROUP BY target, votes
    UNION ALL
    SELECT target, votes, 1 FROM (SELECT target, list(vote) AS votes FROM last_said GROUP BY report_id, target)
),
sorted AS (SELECT target, list_sort(votes) AS votes, sum(cells)::BIGINT AS cells FROM counted GROUP BY ALL),
names AS (
    SELECT list(labeler_id ORDER BY labeler_id) AS ids, list(name ORDER BY labeler_id) AS names FROM labelers
)
SELECT s.target, list_transform(s.votes, lambda v: {'labeler': n.names[v // 4 + 1],
    'labeler_id': n.ids[v // 4 + 1], 'status': ['present', 'absent', 'uncertain', 'unmentioned'][v % 4 + 1]}) AS votes, s.cells
FROM sorted s CROSS JOIN names n;

-- Cohen's kappa of each two labelers, people too, on what both labelled.
CREATE OR REPLACE VIEW kappas AS
WITH pairs AS (
    SELECT a.labeler_id AS first_id, b.labeler_id AS second_id, v.target, a.status AS said_first, b.status AS said_second,
        sum(v.cells) AS n
    FROM joint_votes v, unnest(v.votes) x(a), unnest(v.votes) y(b)
    WHERE a.labeler_id < b.labeler_id
    GROUP BY ALL
),
targets AS (
    SELECT first_id, second_id, CASE WHEN grouping(target) = 1 THEN 'all' ELSE target END AS target, said_first,
        said_second, sum(n) AS n
    FROM pairs
    GROUP BY GROUPING SETS ((first_id, second_id, target, said_first, said_second),
        (first_id, second_id, said_first, said_second))
),
marginals AS (
    SELECT *, sum(n) OVER (PARTITION BY first_id, second_id, target) AS total,
        sum(n) OVER (PARTITION BY first_id, second_id, target, said_first) AS of_first
    FROM targets
),
chance AS (
    SELECT m.first_id, m.second_id, m.target, sum(m.n * o.of_second) AS product
    FROM (SELECT first_id, second_id, target, said_first AS status, sum(n) AS n FROM targets GROUP BY ALL) m
    JOIN (SELECT first_id, second_id, target, said_second AS status, sum(n) AS of_second FROM targets GROUP BY ALL) o
        USING (first_id, second_id, target, status)
    GROUP BY ALL
)
SELECT m.first_id, any_value(f.name) AS "first", m.second_id, any_value(s.name) AS "second", m.target,
    any_value(m.total)::BIGINT AS n,
    coalesce(sum(m.n) FILTER (m.said_first = m.said_second), 0) / any_value(m.total) AS equal,
    coalesce(any_value(c.product), 0) / any_value(m.total) ** 2 AS by_chance,
    (equal - by_chance) / nullif(1 - by_chance, 0) AS kappa
FROM marginals m
JOIN labelers f ON f.labeler_id = m.first_id
JOIN labelers s ON s.labeler_id = m.second_id
LEFT JOIN chance c USING (first_id, second_id, target)
GROUP BY m.first_id, m.second_id, m.target;

-- Krippendorff's alpha of all labelers but students, people too.
CREATE OR REPLACE VIEW alphas AS
WITH combinations AS (SELECT row_number() OVER () AS combination, target, votes, cells FROM joint_votes),
votes AS (
    SELECT c.combination, c.target, c.cells, v.status, count(*) AS n
    FROM combinations c, unnest(c.votes) x(v)
    JOIN labelers b ON b.labeler_id = v.labeler_id
    WHERE b.kind <> 'student'
    GROUP BY ALL
),
counted AS (
    SELECT target, cells, sum(n) AS m, sum(n * n) AS squares,
        coalesce(sum(n) FILTER (status = 'present'), 0) AS present,
        coalesce(sum(n) FILTER (status = 'absent'), 0) AS absent,
        coalesce(sum(n) FILTER (status = 'uncertain'), 0) AS uncertain,
        coalesce(sum(n) FILTER (status = 'unmentioned'), 0) AS unmentioned
    FROM votes
    GROUP BY combination, target, cells
    HAVING sum(n) > 1
),
summed AS (
    SELECT CASE WHEN grouping(target) = 1 THEN 'all' ELSE target END AS target, sum(cells) AS all_cells,
        sum(cells * m) AS n, sum(cells * (m * m - squares) / (m - 1)) AS observed,
        sum(cells * present) ** 2 + sum(cells * absent) ** 2 + sum(cells * uncertain) ** 2
            + sum(cells * unmentioned) ** 2 AS squares
    FROM counted
    GROUP BY GROUPING SETS ((target), ())
)
SELECT target, all_cells::BIGINT AS cells, n::BIGINT AS labels, 1 - (n - 1) * observed / nullif(n * n - squares, 0) AS alpha
FROM summed;

COMMENT ON VIEW joint_votes IS 'How often labelers, people too, say what together, over the whole store: one row a finding and combination.';
COMMENT ON COLUMN joint_votes."target" IS 'The finding.';
COMMENT ON COLUMN joint_votes."votes" IS 'What each labeler of the combination says last: its name (labeler), labeler_id and status.';
COMMENT ON COLUMN joint_votes."cells" IS 'Reports for which that is so.';
COMMENT ON VIEW kappas IS 'Cohen''s kappa of each two labelers, people too, on the findings that both labelled, over the whole store.';
COMMENT ON COLUMN kappas."first_id" IS 'One labeler.';
COMMENT ON COLUMN kappas."first" IS 'Its name.';
COMMENT ON COLUMN kappas."second_id" IS 'The other.';
COMMENT ON COLUMN kappas."second" IS 'Its name.';
COMMENT ON COLUMN kappas."target" IS 'The finding; all for all of them.';
COMMENT ON COLUMN kappas."n" IS 'Cells that both labelled.';
COMMENT ON COLUMN kappas."equal" IS 'Share of equal statuses.';
COMMENT ON COLUMN kappas."by_chance" IS 'Share that would be equal by chance.';
COMMENT ON COLUMN kappas."kappa" IS '(equal - by_chance) / (1 - by_chance); NULL where chance alone agrees always.';
COMMENT ON VIEW alphas IS 'Krippendorff''s alpha of all labelers but students, people too, over the whole store.';
COMMENT ON COLUMN alphas."target" IS 'The finding; all for all of them.';
COMMENT ON COLUMN alphas."cells" IS 'Reports, or cells, with two labels or more.';
COMMENT ON COLUMN alphas."labels" IS 'Labels of these.';
COMMENT ON COLUMN alphas."alpha" IS '1 - observed / expected disagreement; NULL where only one status was given.';
