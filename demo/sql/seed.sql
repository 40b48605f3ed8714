-- Ninety days of a made-up community, up to this moment, for the tables of schema.sql.
--
--   psql -X -d community -v catalogue="$(cat demo/community.json)" \
--     [-v anchor='2026-01-31 12:00+00'] [-v message_count=200000] -f demo/sql/seed.sql
--
-- The channels, their shares and the rhythm of day and week come from the catalogue, demo/community.json; without the
-- variable it is read from there, so run from the repository's root. Everything else is hashed from row numbers: the same
-- anchor (the moment that counts as now) gives the same rows. What the tables held is removed.

\set ON_ERROR_STOP on
\set QUIET on
\if :{?catalogue}
\else
    \set catalogue `cat demo/community.json`
\endif
\if :{?anchor}
\else
    \set anchor now
\endif
\if :{?message_count}
\else
    \set message_count 200000
\endif

SET client_min_messages = warning;
SET timezone = 'UTC';
SET synchronous_commit = off;
SET jit = off;
SET work_mem = '64MB';

BEGIN;

TRUNCATE api_reminder, api_offtopicchannelname, api_nominationentry, api_nomination, api_infraction, api_user,
    messages, threads, channels, categories, users;

-- The dice and the clock

-- A number in [0, 1) for an item of one kind; two kinds ("salts") are independent of one another.
CREATE OR REPLACE FUNCTION pg_temp.chance(item bigint, salt bigint) RETURNS float8 LANGUAGE sql IMMUTABLE AS
$$ SELECT (hashint8extended(item, salt) & 9007199254740991) / 9007199254740992.0::float8 $$;

-- The element that a number in [0, 1) picks, all being equally likely.
CREATE OR REPLACE FUNCTION pg_temp.pick(choices anyarray, chance float8) RETURNS anyelement LANGUAGE sql IMMUTABLE AS
$$ SELECT choices[1 + floor(chance * cardinality(choices))::int] $$;

-- A Discord id: the milliseconds since 2015, then 22 bits that keep ids of one millisecond apart.
CREATE OR REPLACE FUNCTION pg_temp.snowflake(at timestamp, item bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$$ SELECT ((extract(epoch FROM at) * 1000)::bigint - 1420070400000) << 22 | (item & 4194303) $$;

CREATE TEMP TABLE clock ON COMMIT DROP AS
SELECT anchor::timestamp AS now, anchor::timestamp - interval '90 days' AS began, whole,
       (whole->>'peak_hour_utc')::float8 AS peak_hour, (whole->>'weekend_factor')::float8 AS weekend_factor,
       (SELECT (metric->>'daily')::float8 FROM jsonb_array_elements(whole->'metrics') AS metric
        WHERE metric->>'name' = 'messages') AS daily
FROM (SELECT :'anchor'::timestamptz AT TIME ZONE 'UTC' AS anchor, :'catalogue'::jsonb AS whole) AS given;

-- The hours of the ninety days, and how likely an event is to be at or before each: the wheel that every time is drawn from.
CREATE TEMP TABLE hour ON COMMIT DROP AS
SELECT number, clock.began + number * interval '1 hour' AS starts,
       (1 + daily * cos(2 * pi() * (extract(hour FROM clock.began + number * interval '1 hour') - peak_hour) / 24))
       * CASE WHEN extract(isodow FROM clock.began + number * interval '1 hour') > 5 THEN weekend_factor ELSE 1 END
       * (0.85 + 0.3 * pg_temp.chance(number, 1)) * (0.9 + 0.1 * number / 2160.0) AS weight
FROM clock, generate_series(0, 90 * 24 - 1) AS number;

-- (A view, since an array as long as this would be stored compressed, and unpacked for every row.)
CREATE TEMP VIEW wheel AS
SELECT array_agg(below ORDER BY number) AS hours
FROM (SELECT number, (sum(weight) OVER (ORDER BY number) - weight) / sum(weight) OVER () AS below FROM hour) AS summed;

-- The moment that a number in [0, 1) picks; a second number places it within its hour.
CREATE OR REPLACE FUNCTION pg_temp.moment(hours float8[], began timestamp, chance float8, within float8)
RETURNS timestamp LANGUAGE sql IMMUTABLE AS
$$ SELECT began + (width_bucket(chance, hours) - 1 + within) * interval '1 hour' $$;

-- Channels

CREATE TEMP TABLE catalogue_channel ON COMMIT DROP AS
SELECT position::int AS number, translate(substr(metric->>'name', length('channels.') + 1), '_', '-') AS name,
       (metric->>'mean')::float8 AS share, metric->>'category' AS category,
       coalesce((metric->>'staff')::boolean, false) AS is_staff,
       pg_temp.snowflake(timestamp '2019-06-01' + position * interval '9 days', position)::varchar AS id
FROM clock, jsonb_array_elements(whole->'metrics') WITH ORDINALITY AS listed (metric, position)
WHERE metric->>'name' LIKE 'channels.%';

INSERT INTO categories (id, name, deleted)
SELECT pg_temp.snowflake(timestamp '2019-05-01' + row_number() OVER (ORDER BY name) * interval '1 day', 0)::varchar, name, name = 'Archive'
FROM (SELECT DISTINCT category AS name FROM catalogue_channel UNION SELECT 'Archive') AS named;

INSERT INTO channels (id, name, category_id, is_staff, deleted)
SELECT catalogue_channel.id, catalogue_channel.name, categories.id, is_staff, false
FROM catalogue_channel JOIN categories ON categories.name = category
UNION ALL
SELECT pg_temp.snowflake(timestamp '2019-07-01' + number * interval '1 day', 4000 + number)::varchar, closed.name, categories.id, false, true
FROM unnest(ARRAY['summer-jam-2020', 'old-announcements', 'esoterica']) WITH ORDINALITY AS closed (name, number)
JOIN categories ON categories.name = 'Archive';

INSERT INTO threads (id, parent_channel_id, created_at, name, archived, auto_archive_duration, locked, type)
SELECT pg_temp.snowflake(created_at, thread)::varchar, id, created_at,
       pg_temp.pick(ARRAY['reading list', 'is this a bug', 'weekly challenge', 'benchmarks', 'review of my library', 'typing puzzle'],
                    pg_temp.chance(thread, 12)) || ' ' || thread,
       created_at < now - interval '3 days', pg_temp.pick(ARRAY[60, 1440, 4320, 10080], pg_temp.chance(thread, 13)),
       pg_temp.chance(thread, 14) < 0.05, 'public_thread'
FROM clock, (SELECT id, row_number() OVER (ORDER BY number) AS place FROM catalogue_channel WHERE category = 'Topical Chat') AS parent,
     LATERAL (SELECT parent.place * 16 + ordinal AS thread, pg_temp.chance(parent.place * 16 + ordinal, 11) AS age
              FROM generate_series(0, 15) AS ordinal) AS numbered,
     LATERAL (SELECT began + age * (now - began) AS created_at) AS dated;

-- People: 2,000 in the order in which they joined, of whom the first 60 are staff and the next 6 are bots; then 1,500 who
-- joined before the ninety days, never write, and are those whom most bans and kicks hit

CREATE TEMP TABLE person ON COMMIT DROP AS
SELECT number, number <= 60 AS is_staff, number BETWEEN 61 AND 66 AS is_bot,
       CASE WHEN number BETWEEN 61 AND 66
            THEN (ARRAY['Keeper', 'Tally', 'Sentinel', 'Postbox', 'Scribe', 'Lantern'])[number - 60]
            ELSE pg_temp.pick(ARRAY['quiet', 'brave', 'lazy', 'eager', 'amber', 'polite', 'rusty', 'sunny', 'clever', 'dusty', 'frosty',
                'gentle', 'hasty', 'ivory', 'jolly', 'keen', 'lucky', 'mellow', 'nimble', 'odd', 'proud', 'quick', 'royal', 'silent',
                'tidy', 'upbeat', 'vivid', 'witty', 'young', 'zesty'], pg_temp.chance(number, 21))
              || '_' || pg_temp.pick(ARRAY['otter', 'heron', 'badger', 'lynx', 'finch', 'gecko', 'mole', 'newt', 'panda', 'raven', 'seal',
                'tapir', 'viper', 'walrus', 'yak', 'zebra', 'falcon', 'hare', 'ibis', 'koala'], pg_temp.chance(number, 22))
              || number END AS name,
       joined_at, joined_at - (1 + 900 * pg_temp.chance(number, 23)) * interval '1 day' AS created_at,
       number <= 66 OR pg_temp.chance(number, 24) < 0.93 AS in_guild,
       number > 66 AND pg_temp.chance(number, 25) < 0.04 AS pending
FROM clock, generate_series(1, 3500) AS number,
     LATERAL (SELECT CASE WHEN number <= 2000 THEN now - interval '1 hour' - (1800 * power(1 - number / 2001.0, 1.3)) * interval '1 day'
                          ELSE began - 600 * pg_temp.chance(number, 26) * interval '1 day' END AS joined_at) AS joined;

ALTER TABLE person ADD COLUMN id bigint;
UPDATE person SET id = pg_temp.snowflake(created_at, number);
CREATE UNIQUE INDEX ON person (number);
ANALYZE person;

INSERT INTO users (id, name, joined_at, created_at, is_staff, bot, in_guild, pending)
SELECT id::varchar, name, joined_at, created_at, is_staff, is_bot, in_guild, pending FROM person ORDER BY number;

-- Messages: a fifth or so of what a community of this kind writes, some 77 % of it not by staff

CREATE TEMP TABLE channel_wheel ON COMMIT DROP AS
SELECT array_agg(below ORDER BY number) AS bounds, array_agg(id ORDER BY number) AS ids,
       array_agg(is_staff ORDER BY number) AS staff_only,
       -- the chance of a staff member in an open channel, so that with the staff's own channels they write 23 %
       (0.23 - sum(share) FILTER (WHERE is_staff) / sum(share)) / (1 - sum(share) FILTER (WHERE is_staff) / sum(share)) AS staff_chance
FROM (SELECT *, (sum(share) OVER (ORDER BY number) - share) / sum(share) OVER () AS below FROM catalogue_channel) AS summed;

CREATE TEMP TABLE written ON COMMIT DROP AS
SELECT number, created_at, floor(extract(epoch FROM created_at - began) / 3600)::int AS hour, ids[slot] AS channel_id,
       staff_only[slot] OR pg_temp.chance(number, 34) < staff_chance AS by_staff
FROM clock, wheel, channel_wheel, generate_series(1, :message_count) AS number,
     LATERAL (SELECT width_bucket(pg_temp.chance(number, 31), bounds) AS slot) AS spun,
     LATERAL (SELECT pg_temp.moment(hours, began, pg_temp.chance(number, 32), pg_temp.chance(number, 33)) AS created_at) AS dated;

-- How many had joined by the beginning of each hour, so that nobody writes before that.
CREATE TEMP TABLE joined_by ON COMMIT DROP AS
SELECT hour.number AS hour, (SELECT max(person.number) FROM person WHERE joined_at <= starts AND person.number <= 2000) AS people FROM hour;

ANALYZE written, joined_by;

INSERT INTO messages (id, channel_id, thread_id, author_id, created_at, is_deleted, content_hash)
SELECT pg_temp.snowflake(written.created_at, written.number)::varchar, channel_id, threads.id, person.id::varchar, written.created_at,
       pg_temp.chance(written.number, 36) < 0.015, md5(written.number::text)
FROM written
JOIN joined_by USING (hour)
-- a few write much, most write little
JOIN person ON person.number = CASE WHEN by_staff THEN 1 + floor(60 * power(pg_temp.chance(written.number, 35), 2))::int
                                    ELSE 67 + floor((people - 66) * power(pg_temp.chance(written.number, 35), 2.5))::int END
-- one message in thirty belongs to one of its channel's threads, if that was open by then
LEFT JOIN (SELECT *, row_number() OVER (PARTITION BY parent_channel_id ORDER BY created_at) AS place FROM threads) AS threads
    ON parent_channel_id = channel_id AND threads.created_at <= written.created_at
    AND place = 1 + floor(480 * pg_temp.chance(written.number, 37))::int
ORDER BY written.created_at;

-- The site's users, and what the moderators did

INSERT INTO api_user (id, name, display_name, discriminator, roles, in_guild)
SELECT id, name, initcap(replace(name, '_', ' ')), CASE WHEN is_bot THEN 1000 + number ELSE 0 END,
       ARRAY[200000000000000010, 200000000000000011] || CASE WHEN is_staff THEN ARRAY[200000000000000020] ELSE '{}' END
       || CASE WHEN number <= 12 THEN ARRAY[200000000000000021] ELSE '{}' END, in_guild
FROM person ORDER BY number;

INSERT INTO api_infraction (id, inserted_at, last_applied, expires_at, active, user_id, actor_id, type, reason, hidden, dm_sent, jump_url)
WITH kind (place, type, count, stranger_share, bot_share, lasting, shortest, longest, pardoned, reasons) AS (
    -- count: in ninety days. stranger_share: hits those who never wrote. bot_share: given by a bot. lasting: the share that never expires; shortest, longest: of the others, in hours
    VALUES (1, 'ban', 1314, 0.90, 0.20, 0.75, 24, 720, 0.10, ARRAY['scam links', 'compromised account', 'raiding', 'hate speech', 'advertising in direct messages', 'ban evasion']),
           (2, 'note', 1188, 0.30, 0.00, 1.00, 0, 0, 0.00, ARRAY['asked about a job offer', 'talked to about tone', 'two accounts, known to us', 'nickname reset']),
           (3, 'warning', 711, 0.00, 0.10, 1.00, 0, 0, 0.00, ARRAY['rule 5: asked for help with something malicious', 'rule 6: advertising', 'rule 8: exam questions', 'rule 2: rude towards a helper', 'rule 9: offered paid work']),
           (4, 'timeout', 417, 0.20, 0.45, 0.00, 0.16, 336, 0.15, ARRAY['sent 10 messages in 5 seconds', 'pasted a wall of text repeatedly', 'arguing with moderators', 'duplicated messages']),
           (5, 'kick', 96, 0.80, 0.00, 1.00, 0, 0, 0.00, ARRAY['inappropriate profile', 'account made for spam']),
           (6, 'voice_mute', 108, 0.10, 0.00, 0.10, 24, 336, 0.10, ARRAY['noise in voice chat', 'playing music over others']),
           (7, 'watch', 87, 0.20, 0.00, 1.00, 0, 0, 0.60, ARRAY['new account, odd questions', 'after a ban was lifted']),
           (8, 'superstar', 54, 0.30, 0.00, 0.00, 1, 168, 0.05, ARRAY['inappropriate nickname', 'impersonating staff'])
),
-- Offenders: mostly different people, with some regulars; one person has one running infraction of a type, the newest.
drawn AS (
    SELECT type, bot_share, reasons, item,
           pg_temp.moment(hours, began, pg_temp.chance(item, 41), pg_temp.chance(item, 42)) AS inserted_at,
           CASE WHEN pg_temp.chance(item, 55) < stranger_share THEN 2001 + floor(1500 * pg_temp.chance(item, 43))::int
                ELSE 67 + floor((people - 66) * power(pg_temp.chance(item, 43), 0.8))::int END AS offender,
           CASE WHEN pg_temp.chance(item, 44) >= lasting
                THEN (shortest + (longest - shortest) * power(pg_temp.chance(item, 45), 3)) * interval '1 hour' END AS duration,
           type IN ('ban', 'timeout', 'voice_mute', 'watch', 'superstar') AND pg_temp.chance(item, 46) >= pardoned AS may_run
    FROM kind, clock, wheel, (SELECT people FROM joined_by WHERE hour = 0) AS at_first, generate_series(1, count) AS number, LATERAL (SELECT place * 100000 + number AS item) AS numbered
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY offender, type ORDER BY inserted_at DESC, item) AS newness,
           row_number() OVER (ORDER BY inserted_at, item) AS place_in_time FROM drawn
)
SELECT 80000 + place_in_time, inserted_at, inserted_at, inserted_at + duration,
       may_run AND newness = 1 AND (duration IS NULL OR inserted_at + duration > now),
       target.id, actor.id, type, CASE WHEN pg_temp.chance(item, 47) >= 0.02 THEN pg_temp.pick(reasons, pg_temp.chance(item, 48)) END,
       type IN ('note', 'watch') OR pg_temp.chance(item, 49) < 0.02,
       CASE WHEN type NOT IN ('note', 'watch') THEN pg_temp.chance(item, 50) < 0.82 END,
       CASE WHEN pg_temp.chance(item, 51) < 0.7
            THEN 'https://discord.com/channels/200000000000000001/' || pg_temp.pick(ids, pg_temp.chance(item, 52)) || '/'
                 || pg_temp.snowflake(inserted_at, item) END
FROM ranked CROSS JOIN clock CROSS JOIN channel_wheel
JOIN person AS target ON target.number = offender
JOIN person AS actor ON actor.number = CASE WHEN pg_temp.chance(item, 53) < bot_share THEN 61
                                            ELSE 1 + floor(25 * power(pg_temp.chance(item, 54), 2))::int END;

-- Whoever is banned is not in the guild.
UPDATE api_user SET in_guild = false WHERE id IN (SELECT user_id FROM api_infraction WHERE type = 'ban' AND active);
UPDATE users SET in_guild = false WHERE id IN (SELECT user_id::varchar FROM api_infraction WHERE type = 'ban' AND active);

-- Nominations for staff: the older half is decided
INSERT INTO api_nomination (id, active, user_id, inserted_at, end_reason, ended_at, reviewed, thread_id)
SELECT nth, nth > 18, person.id, nominated_at,
       CASE WHEN nth <= 18 THEN pg_temp.pick(ARRAY['became a helper', 'not yet', 'declined by the nominee'], pg_temp.chance(nth, 61)) ELSE '' END,
       CASE WHEN nth <= 18 THEN nominated_at + (12 + 20 * pg_temp.chance(nth, 62)) * interval '1 day' END,
       nth <= 24, CASE WHEN nth <= 24 THEN pg_temp.snowflake(nominated_at + interval '9 days', nth) END
FROM clock CROSS JOIN generate_series(1, 36) AS nth
CROSS JOIN LATERAL (SELECT began + (nth - pg_temp.chance(nth, 63)) * (now - began) / 36 AS nominated_at) AS dated
JOIN person ON person.number = 67 + nth * 4;

INSERT INTO api_nominationentry (id, nomination_id, actor_id, reason, inserted_at)
SELECT row_number() OVER (ORDER BY api_nomination.id, nth), api_nomination.id, person.id,
       pg_temp.pick(ARRAY['patient answers in the help channels', 'knows asyncio well', 'keeps calm in arguments', 'explains rather than pastes', ''],
                    pg_temp.chance(api_nomination.id * 10 + nth, 64)),
       least(api_nomination.inserted_at + nth * pg_temp.chance(api_nomination.id * 10 + nth, 65) * interval '2 days', now)
FROM clock CROSS JOIN api_nomination CROSS JOIN generate_series(0, 4) AS nth
JOIN person ON person.number = 1 + (api_nomination.id * 7 + nth * 11) % 60
WHERE nth <= 4 * pg_temp.chance(api_nomination.id, 66);

-- What else the site keeps; Grafana does not read it

INSERT INTO api_offtopicchannelname (name, used, active)
SELECT front || '-' || back, pg_temp.chance(row_number() OVER (), 71) < 0.4, pg_temp.chance(row_number() OVER (), 72) >= 0.1
FROM unnest(ARRAY['the-case-of-the', 'nobody-expects-the', 'all-hail-the', 'who-ate-the', 'a-treatise-on-the', 'never-trust-the']) AS front,
     unnest(ARRAY['missing-semicolon', 'sentient-toaster', 'lonely-tuple', 'rubber-duck', 'indented-goose', 'infinite-loop', 'silent-exception', 'tiny-teapot']) AS back;

INSERT INTO api_reminder (id, active, author_id, channel_id, content, expiration, mentions, failures)
SELECT nth, expires_at > now, person.id, pg_temp.pick(ids, pg_temp.chance(nth, 81))::bigint,
       pg_temp.pick(ARRAY['drink water', 'answer that thread', 'renew the certificate', 'try the new release', 'stand-up'], pg_temp.chance(nth, 82)),
       expires_at, '{}', CASE WHEN pg_temp.chance(nth, 83) < 0.03 THEN 1 ELSE 0 END
FROM clock CROSS JOIN channel_wheel CROSS JOIN generate_series(1, 120) AS nth
CROSS JOIN LATERAL (SELECT now + (pg_temp.chance(nth, 84) - 0.6) * interval '40 days' AS expires_at) AS dated
JOIN person ON person.number = 67 + floor(800 * pg_temp.chance(nth, 85))::int;

COMMIT;

-- The rows have ids of their own; the next one that somebody adds shall not collide with them.
SELECT format('ALTER TABLE %I ALTER COLUMN id RESTART WITH %s', name, next) FROM (
    SELECT 'api_infraction' AS name, max(id) + 1 AS next FROM api_infraction UNION ALL
    SELECT 'api_nomination', max(id) + 1 FROM api_nomination UNION ALL
    SELECT 'api_nominationentry', max(id) + 1 FROM api_nominationentry UNION ALL
    SELECT 'api_reminder', max(id) + 1 FROM api_reminder) AS following \gexec

VACUUM ANALYZE api_user, api_infraction, api_nomination, api_nominationentry, api_offtopicchannelname, api_reminder,
    categories, channels, threads, users, messages;
