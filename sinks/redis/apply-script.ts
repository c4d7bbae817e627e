/**
 * What Redis does with one batch of hot values. Every group of fields has an order of its own, and only what is higher in it is written:
 *
 *   newest event    last_event_time
 *   window          window_start, then final over live, then window_events
 *   session         session_last_event, then final over live, then session_events
 *   closed window   closed_window_start
 *   metric          minute
 *
 * So the two flows that write one key (clean rows and closed windows) may overtake each other, and a batch may come twice or late: the outcome is the
 * same. A key belongs to the generation that is its `gen`; a lower one leaves it alone, a higher one begins it anew.
 *
 * The server runs this for every key that changes: commands are few, and no table is made that is not needed.
 */

/**
 * A batch of many keys comes in parts, since a call of thousands of arguments costs several times as much for each: all but the last leave the mark alone,
 * and the last is refused unless the mark counts all of them under the same attempt. Whatever was lost or came between, the batch is applied again.
 *
 * KEYS: mark. ARGV: first row, last row, "1" if nothing before the first row is left in the log, offset of the next record, log time, generation, channel,
 * attempt, parts before this one (-1: not the last); then values: kind, key, seconds to live and what belongs to the kind. Answers the mark as it was, -1
 * where there was none, and 1 as second value when it applied.
 */
export const APPLY = `
local call, number, ARGV = redis.call, tonumber, ARGV
local mark = number(call('HGET', KEYS[1], 'row') or '-1')
local first, last = number(ARGV[1]), number(ARGV[2])
if mark >= 0 and last <= mark then return {mark, 0} end
if first > math.max(mark, 0) + 1 and ARGV[3] ~= '1' then return {mark, 0} end
local attempt, parts = ARGV[8], number(ARGV[9])
if parts > 0 then
  local a = call('HMGET', KEYS[1], 'attempt', 'parts')
  if a[1] ~= attempt or number(a[2]) ~= parts then return {mark, 0} end
end
local gen, generation, created = ARGV[6], number(ARGV[6]), {}

-- What a key has is of this generation, of none (there is no such key, or no more), or of a later one.
local OWN, NONE, LATER = 1, 2, 3
local function owner(key, held)
  if held == gen then return OWN end
  if not held then
    created[#created + 1] = key
    return NONE
  end
  if number(held) > generation then return LATER end
  call('DEL', key)
  return NONE
end

-- A sixtieth of its life is not worth a command.
local function live(key, ttl)
  ttl = number(ttl)
  if call('TTL', key) < ttl - ttl / 60 then call('EXPIRE', key, ttl) end
end

-- Is live (place, count) higher than what is held?
local function rises(heldPlace, heldFinal, heldCount, place, count)
  if not heldPlace then return true end
  local at, to = number(heldPlace), number(place)
  if to ~= at then return to > at end
  return heldFinal ~= '1' and number(count) >= number(heldCount)
end

-- last event time, its type, window start, window events, session start, session events, session id
local function activity(key, ttl, i)
  local time, start, events, session, rank = ARGV[i], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  local h = call('HMGET', key, 'gen', 'last_event_time', 'window_start', 'window_events', 'is_final', 'session_last_event', 'session_events', 'session_is_final')
  local whose = owner(key, h[1])
  if whose == LATER then return end
  if whose == NONE then
    call('HSET', key, 'gen', gen, 'last_event_time', time, 'last_event_type', ARGV[i + 1], 'window_start', start, 'window_events', events, 'is_final', '0',
      'session_start', session, 'session_last_event', time, 'session_events', rank, 'session_is_final', '0', 'session_id', ARGV[i + 6])
    call('EXPIRE', key, ttl)
    return
  end
  local isNewest = not h[2] or number(time) >= number(h[2])
  local window, inSession = rises(h[3], h[5], h[4], start, events), rises(h[6], h[8], h[7], time, rank)
  if isNewest and window and inSession then
    call('HSET', key, 'last_event_time', time, 'last_event_type', ARGV[i + 1], 'window_start', start, 'window_events', events, 'is_final', '0',
      'session_start', session, 'session_last_event', time, 'session_events', rank, 'session_is_final', '0', 'session_id', ARGV[i + 6])
  else
    if isNewest then call('HSET', key, 'last_event_time', time, 'last_event_type', ARGV[i + 1]) end
    if window then call('HSET', key, 'window_start', start, 'window_events', events, 'is_final', '0') end
    if inSession then
      call('HSET', key, 'session_start', session, 'session_last_event', time, 'session_events', rank, 'session_is_final', '0', 'session_id', ARGV[i + 6])
    end
  end
  live(key, ttl)
end

-- user, last event time, its type, session start, session events
local function session(key, ttl, i)
  local h = call('HMGET', key, 'gen', 'last_event_time', 'is_final', 'session_events')
  local whose = owner(key, h[1])
  if whose == LATER then return end
  if whose == NONE or rises(h[2], h[3], h[4], ARGV[i + 1], ARGV[i + 4]) then
    call('HSET', key, 'gen', gen, 'user_id', ARGV[i], 'last_event_time', ARGV[i + 1], 'last_event_type', ARGV[i + 2], 'session_start', ARGV[i + 3],
      'session_events', ARGV[i + 4], 'is_final', '0')
  end
  if whose == NONE then call('EXPIRE', key, ttl) else live(key, ttl) end
end

-- window start, events, sum of values
local function closedWindow(key, ttl, i)
  local h = call('HMGET', key, 'gen', 'window_start', 'closed_window_start')
  local whose = owner(key, h[1])
  if whose == LATER then return end
  local start, isNew = number(ARGV[i]), whose == NONE
  if isNew or not h[3] or start >= number(h[3]) then
    call('HSET', key, 'gen', gen, 'closed_window_start', ARGV[i], 'closed_window_events', ARGV[i + 1], 'closed_window_value_sum', ARGV[i + 2])
  end
  if isNew or not h[2] or start >= number(h[2]) then
    call('HSET', key, 'window_start', ARGV[i], 'window_events', ARGV[i + 1], 'is_final', '1')
  end
  live(key, ttl)
end

-- user, session start, last event time, events, what stands before the session id in a session's key, that key's seconds to live
local function closedSession(key, ttl, i)
  local h = call('HMGET', key, 'gen', 'session_last_event', 'session_id')
  local whose = owner(key, h[1])
  if whose == LATER then return end
  local time, isNew = number(ARGV[i + 2]), whose == NONE
  if isNew or not h[2] or time >= number(h[2]) then
    call('HSET', key, 'gen', gen, 'session_start', ARGV[i + 1], 'session_last_event', ARGV[i + 2], 'session_events', ARGV[i + 3], 'session_is_final', '1')
  end
  live(key, ttl)
  -- The session that producers name is the one of the last event: on this server, since it is the same user's.
  if isNew or not h[2] or not h[3] or h[3] == '' or time ~= number(h[2]) then return end
  local named = ARGV[i + 4] .. h[3]
  local s = call('HMGET', named, 'gen', 'user_id', 'last_event_time')
  if s[1] ~= gen or s[2] ~= ARGV[i] or number(s[3]) ~= time then return end
  call('HSET', named, 'session_start', ARGV[i + 1], 'session_events', ARGV[i + 3], 'is_final', '1')
  live(named, ARGV[i + 5])
end

-- minute, value, count
local function metric(key, ttl, i)
  local h = call('HMGET', key, 'gen', 'minute')
  local whose = owner(key, h[1])
  if whose == LATER or (whose == OWN and number(ARGV[i]) < number(h[2])) then return end
  call('HSET', key, 'gen', gen, 'minute', ARGV[i], 'value', ARGV[i + 1], 'count', ARGV[i + 2])
  call('EXPIRE', key, ttl)
end

local kinds = {activity = activity, session = session, ['closed-window'] = closedWindow, ['closed-session'] = closedSession, metric = metric}
local widths = {activity = 7, session = 5, ['closed-window'] = 3, ['closed-session'] = 6, metric = 3}
local at, stop = 10, #ARGV
while at <= stop do
  local kind = ARGV[at]
  kinds[kind](ARGV[at + 1], ARGV[at + 2], at + 3)
  at = at + 3 + widths[kind]
end
if parts >= 0 then call('HSET', KEYS[1], 'row', last, 'offset', ARGV[4], 'at', ARGV[5])
elseif call('HGET', KEYS[1], 'attempt') == attempt then call('HINCRBY', KEYS[1], 'parts', 1)
else call('HSET', KEYS[1], 'attempt', attempt, 'parts', 1) end
if #created > 0 then call('PUBLISH', ARGV[7], cjson.encode(created)) end
return {mark, 1}
`;
