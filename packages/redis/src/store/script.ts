/**
 * `protocol/advance.ts` in Lua, for Redis 6.2 and later, and Valkey. It takes the same steps in the same order, and the tests
 * compare the answers of both. Change both together.
 *
 * The state of a meter is one hash, so that it is lost or kept as a whole, on one node of a cluster:
 *
 * | field | value |
 * |---|---|
 * | `m` | packed by `cmsgpack`: the version of the protocol; the numbers of the state, packed by `struct`; the texts of its limits; the names of the sessions |
 * | `s` + session | a session, packed by `cmsgpack` |
 * | `l` + log + `:` + number | an entry of a log, packed by `struct` |
 *
 * A message reads and writes the state, its own session, the sessions that it grants something to, and the entries at both
 * ends of the logs. The content of a message is data to the script, and names are never part of its text.
 *
 * `KEYS[1]` is the hash, `ARGV[1]` the message. Wake-ups are empty messages on the channel `KEYS[1]:session`.
 *
 * All processes share the server, so the script is optimized for its time. Lua creates each function anew for each message, and
 * searches for its upvalues one by one: so only code that is used more than once is a function, and functions share few variables.
 * Constants are inlined as numbers, and numbers are packed by `struct`, at a quarter of the cost of `cmsgpack`.
 */
const constants: Readonly<Record<string, number | string>> = {
  VERSION: 1,
  SLACK: 250_000,
  CATCH_UP: 10_000,
  HORIZON_PER_SESSION: 500,
  HORIZON_AT_MOST: 200_000,
  QUANTUM_AT_MOST: 64,
  LEASES_REMEMBERED: 10,
  OUTSTANDING_AT_MOST: 256,
  TOKENS_OF_PERMITS: 32,
  ENTRIES_AT_MOST: 1_024,
  INFINITY: "1e309",
  // How many values one call packs, unpacks or sends.
  CHUNK: 250,
  // Modes
  IDLE: 0,
  PACED: 1,
  HELD: 2,
  // Elements of a session. `KNOWN` is a flat list of its outstanding grants: for each, its id and the number of its entry in each log.
  SEQ: 1,
  ANSWER: 2,
  GONE: 3,
  EXPIRES: 4,
  HOLDS: 5,
  VISIT: 6,
  DUE: 7,
  DELIVERIES: 8,
  KNOWN: 9,
  ASIDE: 10,
  // Elements of a log
  HEAD: 1,
  OFF: 2,
  TAIL: 3,
  USED: 4,
  BEGAN: 5,
  // Elements of an entry
  BASE: 1,
  FROM: 2,
  INTERVAL: 3,
  COUNT: 4,
  COST: 5,
  LATE: 6,
  PLUS: 7,
  MINUS: 8,
  MERGED: 9
}

const source = String.raw`
local key = KEYS[1]
local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local function wake(session)
  redis.call('PUBLISH', key .. ':' .. session, '')
end

-- limits ------------------------------------------------------------------------------------------------------------

local function termsOf(text)
  local l = cjson.decode(text)
  local t = { permits = l[1], rate = l[2], burst = l[3], lease = l[4], windows = {}, slack = SLACK, interval = 0 }
  local longest = 0
  if t.rate > 0 then
    local limit = math.max(1, math.floor(t.rate), t.burst)
    local per = math.ceil((limit * 1000000) / t.rate)
    t.windows[1] = { limit = limit, per = per }
    t.interval = 1000000 / t.rate
    t.slack = math.min(t.slack, math.floor(per / 4))
    longest = per
  end
  for _, w in ipairs(l[5]) do
    t.windows[#t.windows + 1] = { limit = w[2], per = w[3] }
    t.slack = math.min(t.slack, math.floor(w[3] / 4))
    longest = math.max(longest, w[3])
  end
  t.quarantine = math.max(longest + t.slack + HORIZON_AT_MOST, t.lease)
  t.horizon = t.permits > 0 and 20000 or 50000
  return t
end

-- the message, and the state ----------------------------------------------------------------------------------------------

local m = cjson.decode(ARGV[1])
local id, seq, generation, tick, configured = m[2], m[3], m[4], m[5], m[6]
local time = clock()
local stored = redis.call('HMGET', key, 'm', 's' .. id)
-- The sessions that have been read.
local s, terms, sessions = nil, nil, {}

if stored[1] then
  local packed = cmsgpack.unpack(stored[1])
  if packed[1] ~= VERSION then
    return string.format('[2,%d,%d,0,0,0,0,0,0,0,0,[],[]]', packed[1], time)
  end
  local numbers = packed[2]
  local n, p = #numbers / 8, nil
  for from = 1, n, CHUNK do
    local chunk = { struct.unpack('<' .. string.rep('d', math.min(CHUNK, n - from + 1)), numbers, 8 * from - 7) }
    if from == 1 then
      p = chunk
    else
      for i = 1, #chunk - 1 do p[from - 1 + i] = chunk[i] end
    end
  end
  s = {
    original = packed[3], limits = packed[4], generation = p[1], tick = p[2], now = p[3], quarantine = p[4], paused = p[5],
    revision = p[6], arrival = p[7], token = p[8], inUse = p[9], live = p[10], mode = p[11], last = p[12], base = p[13],
    steps = p[14], expiry = p[15], logs = {}, names = packed[5], times = {}, queue = {}
  }
  terms = {
    permits = p[16], rate = p[17], burst = p[18], lease = p[19], slack = p[20], interval = p[21], quarantine = p[22],
    horizon = p[23], windows = {}
  }
  local logs, at = p[24], 26
  for i = 1, logs do
    terms.windows[i] = { limit = p[at + 1], per = p[at + 2] }
    s.logs[i] = { p[at + 3], p[at + 4], p[at + 5], p[at + 6], p[at + 7] }
    at = at + 7
  end
  for i = 1, p[25] do s.times[i] = p[at + i] end
  at = at + p[25]
  local named, none, queue, names = terms.rate > 0 and logs - 1 or logs, {}, s.queue, s.names
  for i = 1, p[26] do
    local costs = none
    if named > 0 then
      costs = {}
      for w = 1, named do costs[w] = p[at + 5 + w] end
    end
    queue[i] = { p[at + 1], names[p[at + 2]], p[at + 3], p[at + 4], p[at + 5], costs }
    at = at + 5 + named
  end
end

-- refusals ------------------------------------------------------------------------------------------------------------------

local status = 0
if m[1] ~= VERSION then
  status = 2
elseif (m[20] or 0) > 0 and (s and math.max(time, s.now) or time) > m[20] then
  status = 1
elseif s and configured ~= s.limits and configured ~= s.original then
  status = 3
elseif m[14] ~= '' then
  local one, other = cjson.decode(s and s.limits or configured), cjson.decode(m[14])
  local isAlike = (one[1] > 0) == (other[1] > 0) and (one[2] > 0) == (other[2] > 0) and #one[5] == #other[5]
  for i, w in ipairs(one[5]) do isAlike = isAlike and w[1] == other[5][i][1] end
  if not isAlike then status = 3 end
end
local session = stored[2] and s and cmsgpack.unpack(stored[2]) or nil
if status == 0 and session and seq <= session[SEQ] then
  if seq == session[SEQ] then return session[ANSWER] end
  status = 1
end
if status > 0 then
  return string.format('[%d,VERSION,%d,0,0,0,0,0,0,0,%s,[],[]]', status, s and math.max(time, s.now) or time,
    status == 3 and s and s.limits or '0')
end

-- lost state ------------------------------------------------------------------------------------------------------------------

local function quarantineOf(t)
  if m[19] ~= 1 then return t.quarantine end
  return t.permits > 0 and t.lease or 0
end

if not s or generation > s.generation or (generation == s.generation
    and (tick > s.tick or seq > (session and session[SEQ] or 0) + 1)) then
  local now = s and math.max(time, s.now) or time
  local known = s and math.max(s.generation, s.arrival, s.token) or 0
  if s then redis.call('DEL', key) end
  session = nil
  local limits = m[7] == '' and configured or m[7]
  terms = termsOf(limits)
  local g = math.max(now, generation + 1, known + 1)
  s = {
    original = configured, limits = limits, generation = g, tick = 0, now = now,
    quarantine = generation == 0 and 0 or now + quarantineOf(terms), paused = 0, revision = 1, arrival = g, token = g,
    inUse = 0, live = 0, mode = IDLE, last = 0, base = now, steps = 1 - terms.burst, expiry = 0, logs = {}, names = {},
    times = {}, queue = {}
  }
  for i = 1, #terms.windows do s.logs[i] = { 1, 0, 1, 0, 0 } end
end
sessions[id] = session or nil

local now, since = math.max(time, s.now), s.now
s.now = now
s.tick = s.tick + 1

-- logs ------------------------------------------------------------------------------------------------------------------------

-- For each log, the entries that have been read and those to write; and the fields to delete.
local entries, changed, dropped = {}, {}, {}
for i = 1, #s.logs do entries[i], changed[i] = {}, {} end

local function load(name)
  local known = sessions[name]
  if known then return known end
  known = cmsgpack.unpack(redis.call('HGET', key, 's' .. name))
  sessions[name] = known
  return known
end

local function entryOf(log, number)
  local known = entries[log][number]
  if known then return known end
  local l = s.logs[log]
  if number < l[HEAD] or number >= l[TAIL] then return nil end
  known = { struct.unpack('<ddddddddd', redis.call('HGET', key, string.format('l%d:%d', log, number))) }
  entries[log][number] = known
  return known
end

local function drop(log, l)
  local number = l[HEAD]
  entries[log][number] = nil
  changed[log][number] = nil
  dropped[#dropped + 1] = string.format('l%d:%d', log, number)
  l[HEAD] = number + 1
end

local function settle(log, number, late, unused)
  local e = entryOf(log, number)
  if not e or e[MERGED] == 1 then return end
  local l = s.logs[log]
  local without = math.min(unused, e[COUNT])
  local passed = number == l[HEAD] and l[OFF] or 0
  e[LATE] = late or e[LATE]
  e[FROM] = e[FROM] + without
  e[COUNT] = e[COUNT] - without
  l[USED] = l[USED] - e[COST] * math.max(0, without - passed)
  if passed > 0 then l[OFF] = math.max(0, passed - without) end
  changed[log][number] = e
end

-- demand. Items: arrival, session, batch, count, weight, costs. Deliveries: id, batch, base, from, interval, count, weight,
-- entries, arrival, costs, asked -----------------------------------------------------------------------------------------------

local function setDeadline(name, at)
  local names, index = s.names, 1
  while names[index] and names[index] ~= name do index = index + 1 end
  names[index], s.times[index] = name, at
end

local function quantumNow(horizon)
  return math.max(1, math.min(
    terms.rate > 0 and math.min(QUANTUM_AT_MOST, math.floor(horizon / 2 / terms.interval)) or QUANTUM_AT_MOST,
    terms.permits > 0 and math.ceil(terms.permits / 8) or INFINITY
  ))
end
local function horizonNow()
  return math.min(HORIZON_AT_MOST, math.max(terms.horizon, HORIZON_PER_SESSION * s.live))
end

local function enqueue(item)
  local queue = s.queue
  local index = #queue + 1
  while index > 1 and queue[index - 1][1] > item[1] do index = index - 1 end
  table.insert(queue, index, item)
end

local function takeBack(name, known)
  local items = {}
  for i, d in ipairs(known[DELIVERIES]) do
    for log, number in ipairs(d[8]) do settle(log, number, nil, d[6]) end
    known[HOLDS] = known[HOLDS] - d[6] * d[7]
    s.inUse = s.inUse - d[6] * d[7]
    items[i] = { d[9], name, d[2], d[6], d[11], d[10] }
  end
  known[DELIVERIES] = {}
  known[DUE] = 0
  return items
end

local function recall()
  for i, name in ipairs(s.names) do
    local known = load(name)
    for _, item in ipairs(takeBack(name, known)) do enqueue(item) end
    if known[GONE] == 0 then s.times[i] = known[EXPIRES] end
  end
end

local function finish(name, known)
  takeBack(name, known)
  s.inUse = s.inUse - known[HOLDS]
  s.live = s.live - 1
  known[HOLDS], known[GONE], known[KNOWN], known[ASIDE] = 0, 1, {}, {}
  local queue = s.queue
  for index = #queue, 1, -1 do
    if queue[index][2] == name then table.remove(queue, index) end
  end
  setDeadline(name, now + LEASES_REMEMBERED * terms.lease)
end

local wakes, woken = {}, {}
local function addWake(name)
  if not woken[name] then
    woken[name] = true
    wakes[#wakes + 1] = name
  end
end
local function wakeOthers()
  for _, name in ipairs(s.names) do
    if name ~= id and load(name)[GONE] == 0 then addWake(name) end
  end
end

-- what time has changed -----------------------------------------------------------------------------------------------------

if s.mode == HELD then
  local slot = s.base + s.steps * terms.interval
  if slot <= since then
    s.base = s.base + (now - since)
  elseif slot < now then
    s.base, s.steps = now, 0
  end
end

for log, l in ipairs(s.logs) do
  local per, isOver = terms.windows[log].per, true
  while isOver and l[HEAD] < l[TAIL] do
    local e = entryOf(log, l[HEAD])
    isOver = not (e[COUNT] > 0
      and math.ceil(e[BASE] + (e[FROM] + e[COUNT] - 1) * e[INTERVAL]) + e[LATE] + per > now)
    if isOver then
      l[USED] = l[USED] - ((e[COUNT] - l[OFF]) * e[COST] + e[PLUS] + e[MINUS])
      drop(log, l)
      l[OFF] = 0
    end
  end
  if isOver then l[USED] = 0 end
end

local index, names, times = 1, s.names, s.times
while names[index] do
  local name = names[index]
  index = index + 1
  if times[index - 1] <= now then
    local known = load(name)
    if known[GONE] == 1 then
      sessions[name] = nil
      redis.call('HDEL', key, 's' .. name)
      index = index - 1
      table.remove(names, index)
      table.remove(times, index)
    elseif known[EXPIRES] <= now then
      finish(name, known)
    else
      for _, item in ipairs(takeBack(name, known)) do table.insert(known[ASIDE], item) end
      times[index - 1] = known[EXPIRES]
    end
  end
end

-- what the message says -------------------------------------------------------------------------------------------------------

if generation ~= 0 and generation < s.generation and s.quarantine == 0 then
  s.quarantine = now + quarantineOf(terms)
  recall()
end
if m[14] ~= '' and m[14] ~= s.limits then
  local slot = s.base + s.steps * terms.interval
  s.limits = m[14]
  s.revision = s.revision + 1
  s.expiry = 0
  terms = termsOf(m[14])
  s.base, s.steps = math.ceil(math.min(slot, math.max(now, s.last + terms.interval))), 0
  wakeOthers()
end
local logs, queue = #s.logs, s.queue
session = sessions[id]
local adopted = (not session or session[GONE] == 1) and seq > 1
if not session or session[GONE] == 1 then
  session = session or { 0, '', 0, 0, 0, 0, 0, {}, {}, {} }
  sessions[id] = session
  session[GONE] = 0
  session[HOLDS] = m[9]
  s.inUse = s.inUse + m[9]
  s.live = s.live + 1
end
session[SEQ] = seq
session[VISIT] = m[11] > 0 and now + m[11] or 0
session[EXPIRES] = now + terms.lease

if m[12] >= 0 then
  if m[12] == 0 then
    s.paused = math.min(s.paused, now)
  else
    s.paused = math.max(s.paused, now + m[12])
    recall()
  end
  wakeOthers()
end

local arrivals = {}
if not adopted then
  local ended = math.min(m[10], session[HOLDS])
  session[HOLDS] = session[HOLDS] - ended
  s.inUse = s.inUse - ended
  local known = session[KNOWN]
  for _, r in ipairs(m[15]) do
    for at = 1, #known, 1 + logs do
      if known[at] == r[1] then
        table.remove(known, at)
        if terms.rate > 0 and r[3] > 0 and r[1] + r[3] - 1 == s.token then
          local slot = s.base + s.steps * terms.interval
          s.steps = s.steps - r[3]
          if s.base + s.steps * terms.interval < now then s.base, s.steps = math.min(slot, now), 0 end
        end
        for log = 1, logs do settle(log, table.remove(known, at), r[2], r[3]) end
        break
      end
    end
  end
  for _, item in ipairs(session[ASIDE]) do enqueue(item) end
  session[ASIDE] = {}
  for _, w in ipairs(m[17]) do
    local left, at = w[2], #queue
    while at > 0 and left > 0 do
      local item = queue[at]
      if item[2] == id and item[3] == w[1] then
        local less = math.min(left, item[4])
        left = left - less
        item[4] = item[4] - less
        if item[4] == 0 then table.remove(queue, at) end
      end
      at = at - 1
    end
  end
  local quantum = quantumNow(horizonNow())
  for i, d in ipairs(m[18]) do
    local arrival, same = d[4], nil
    if arrival == 0 then
      for at = 1, #queue do
        local item = queue[at]
        if item[2] == id and item[3] == d[1] and item[4] >= quantum then same = item end
      end
      arrival = same and same[1] or s.arrival + 1
    end
    s.arrival = math.max(s.arrival, arrival)
    arrivals[i] = string.format('[%d,%d]', d[1], arrival)
    if same then
      same[4] = same[4] + d[2]
    else
      enqueue({ arrival, id, d[1], d[2], d[3], d[5] })
    end
  end
end

if generation == s.generation then
  for _, c in ipairs(m[16]) do
    local log, by = c[1] + 1, c[3]
    local e, l = entryOf(log, c[2]), s.logs[log]
    if e then
      if by > 0 then
        e[PLUS] = e[PLUS] + by
        l[USED] = l[USED] + by
      elseif c[2] ~= l[HEAD] or l[OFF] == 0 then
        local change = math.max(by, -(e[COUNT] * e[COST] + e[PLUS] + e[MINUS]))
        e[MINUS] = e[MINUS] + change
        l[USED] = l[USED] + change
      end
      changed[log][c[2]] = e
    end
  end
end
if m[13] == 1 then finish(id, session) end

-- grants ----------------------------------------------------------------------------------------------------------------------

local horizon = horizonNow()
local quantum = quantumNow(horizon)
local blocked = 0

if #queue == 0 then
  s.mode = IDLE
elseif s.quarantine > now or s.paused > now then
  s.mode = HELD
  blocked = math.max(s.quarantine, s.paused)
else
  local ceil, windows, all = math.ceil, terms.windows, s.logs
  local rate, permits, interval, untilTime = terms.rate, terms.permits, terms.interval, now + horizon
  local paced, tolerance = 0, 0
  if rate > 0 then
    paced, tolerance = 1, INFINITY
    for log = 1, logs do tolerance = math.min(tolerance, windows[log].per / 1000) end
    local slot = s.base + s.steps * interval
    if s.mode == IDLE and slot < now - (terms.burst - 1) * interval then
      s.base, s.steps = now, 1 - terms.burst
    elseif s.mode == PACED and slot < now - CATCH_UP then
      s.base, s.steps = now - CATCH_UP, 0
    end
  end
  s.mode = IDLE
  local recipients, received, isOpen = {}, {}, true
  -- By log: the new place of the mark, and the run of the last slot that it passes.
  local toHead, toOff, toUsed, toBase, toFrom, toInterval = {}, {}, {}, {}, {}, {}
  while isOpen and #queue > 0 do
    local item = queue[1]
    local most = #queue > 1 and math.min(item[4], quantum) or item[4]
    local to, weight = load(item[2]), math.min(item[5], permits)
    local costs, run, given = {}, nil, 0
    for log = 1, logs do
      costs[log] = log <= paced and 1 or math.min(item[6][log - paced], windows[log].limit)
    end
    while isOpen and given < most do
      if permits > 0 and s.inUse + weight > permits then
        s.mode = HELD
        blocked = 0
        isOpen = false
        break
      end
      local slot = paced == 1 and ceil(s.base + s.steps * interval) or 0
      local instant = now
      if s.last > instant then instant = s.last end
      if slot > instant then instant = slot end
      local pace, rated, follows = slot, slot, 0
      for log = 1, logs do
        local cost = costs[log]
        if cost ~= 0 then
          local l, known, limit, per = all[log], entries[log], windows[log].limit, windows[log].per
          local head, off, used, tail = l[HEAD], l[OFF], l[USED], l[TAIL]
          local nominal, opens = -INFINITY, -INFINITY
          while used + cost > limit and head < tail do
            local e = known[head] or entryOf(log, head)
            if off < e[COUNT] then
              local leaves = ceil(e[BASE] + (e[FROM] + off) * e[INTERVAL]) + per
              if leaves > nominal then nominal = leaves end
              leaves = leaves + e[LATE]
              if leaves > opens then opens = leaves end
              toBase[log], toFrom[log], toInterval[log] = e[BASE] + per + e[LATE], e[FROM] + off, e[INTERVAL]
              used = used - (e[COST] + (off == 0 and e[MINUS] or 0))
              off = off + 1
            else
              used = used - (e[PLUS] + (off == 0 and e[MINUS] or 0))
              head = head + 1
              off = 0
            end
          end
          if head == tail then
            used = 0
          elseif off > 0 and head == tail - 1 then
            local last = known[head] or entryOf(log, head)
            if off == last[COUNT] and last[PLUS] == 0 then used = 0 end
          end
          toHead[log], toOff[log], toUsed[log] = head, off, used
          if opens > instant then
            instant = opens
            follows = log
          elseif opens == instant and follows == 0 then
            follows = log
          end
          if log <= paced then
            if opens > rated then rated = opens end
            if nominal > pace then pace = nominal end
          elseif opens > pace then
            pace = opens
          end
        end
      end
      local reached = rated
      if run and run[5] > 0 then
        local following = ceil(run[3] + (run[4] + run[6]) * run[5])
        if following > instant and following <= instant + tolerance then
          instant = following
          if following > reached then reached = following end
        end
      end
      if instant > untilTime then
        s.mode = reached > untilTime and PACED or HELD
        blocked = instant
        isOpen = false
        break
      end
      local base, from, step = instant, 0, 0
      if follows > 0 and toInterval[follows] > 0
        and ceil(toBase[follows] + toFrom[follows] * toInterval[follows]) == instant then
        base, from, step = toBase[follows], toFrom[follows], toInterval[follows]
      end
      if paced == 1 then
        if pace > slot then s.base, s.steps = pace, 0 end
        if pace == instant then base, from, step = s.base, s.steps, interval end
        if rated > pace + CATCH_UP then s.base = s.base + (rated - pace - CATCH_UP) end
        s.steps = s.steps + 1
        if s.steps >= rate then
          s.base = s.base + s.steps * interval
          s.steps = 0
        end
      end
      s.last = instant
      s.inUse = s.inUse + weight
      to[HOLDS] = to[HOLDS] + weight
      local first = s.token + 1
      s.token = s.token + (logs == 0 and TOKENS_OF_PERMITS or 1)
      local goesOn = run and ceil(run[3] + (run[4] + run[6]) * run[5]) == instant
      for log = 1, logs do
        if costs[log] ~= 0 then
          local l = all[log]
          while l[HEAD] < toHead[log] do drop(log, l) end
          l[OFF], l[USED] = toOff[log], toUsed[log]
          if l[OFF] > 0 then
            local e = entryOf(log, l[HEAD])
            if e[MINUS] ~= 0 then
              e[MINUS] = 0
              changed[log][l[HEAD]] = e
            end
          end
          -- The entry of the run itself may have been passed.
          if goesOn and run[8][log] < l[HEAD] then goesOn = false end
        end
      end
      if goesOn then
        run[6] = run[6] + 1
        for log = 1, logs do
          local number, cost = run[8][log], costs[log]
          if number > 0 then
            local e = entryOf(log, number)
            all[log][USED] = all[log][USED] + cost
            if e[MERGED] == 1 then
              e[COST] = e[COST] + cost
              e[BASE] = math.max(e[BASE], instant)
            else
              e[COUNT] = e[COUNT] + 1
            end
            changed[log][number] = e
          end
        end
      else
        local numbers = {}
        for log = 1, logs do
          local cost, l, per = costs[log], all[log], windows[log].per
          numbers[log] = 0
          if cost ~= 0 then
            local number = l[TAIL]
            l[USED] = l[USED] + cost
            if number - l[HEAD] >= ENTRIES_AT_MOST and instant - l[BEGAN] < per / ENTRIES_AT_MOST then
              number = number - 1
              local e = entryOf(log, number)
              e[COST] = e[COUNT] * e[COST] + e[PLUS] + e[MINUS] + cost
              e[BASE] = e[COUNT] > 0
                and math.max(ceil(e[BASE] + (e[FROM] + e[COUNT] - 1) * e[INTERVAL]), instant) or instant
              e[FROM], e[INTERVAL], e[COUNT], e[LATE] = 0, 0, 1, math.max(e[LATE], terms.slack)
              e[PLUS], e[MINUS], e[MERGED] = 0, 0, 1
            else
              l[BEGAN] = instant
              l[TAIL] = number + 1
              entries[log][number] = { base, from, step, 1, cost, terms.slack, 0, 0, 0 }
            end
            changed[log][number] = entries[log][number]
            numbers[log] = number
          end
        end
        run = { first, item[3], base, from, step, 1, weight, numbers, item[1], item[6], item[5] }
        table.insert(to[DELIVERIES], run)
        if not received[item[2]] then
          received[item[2]] = true
          recipients[#recipients + 1] = item[2]
        end
      end
      given = given + 1
    end
    item[4] = item[4] - given
    if item[4] == 0 then
      table.remove(queue, 1)
      isOpen = true
    elseif given == most then
      table.remove(queue, 1)
      s.arrival = s.arrival + 1
      item[1] = s.arrival
      queue[#queue + 1] = item
    end
  end
  for _, name in ipairs(recipients) do
    if name ~= id then
      local to = load(name)
      to[DUE] = now + math.max(terms.slack, horizon)
      setDeadline(name, math.min(to[EXPIRES], to[DUE]))
      local first = to[DELIVERIES][1]
      if to[VISIT] == 0 or ceil(first[3] + first[4] * first[5]) < to[VISIT] then addWake(name) end
    end
  end
end

-- the answer --------------------------------------------------------------------------------------------------------------------

local grants, known = {}, session[KNOWN]
for i, d in ipairs(session[DELIVERIES]) do
  grants[i] = string.format('[%d,%d,%.17g,%d,%.17g,%d,%d,[%s]]', d[1], d[2], d[3], d[4], d[5], d[6], d[7],
    table.concat(d[8], ','))
  known[#known + 1] = d[1]
  for log = 1, logs do known[#known + 1] = d[8][log] end
end
while #known > OUTSTANDING_AT_MOST * (1 + logs) do table.remove(known, 1) end
session[DELIVERIES] = {}
session[DUE] = 0
local visit = 0
if session[GONE] == 0 then
  setDeadline(id, session[EXPIRES])
  local renewal = math.floor(terms.lease / 3)
  local place, ahead = 0, 0
  for i = 1, #queue do
    if queue[i][2] == id then
      place = i
      break
    end
    ahead = ahead + math.min(queue[i][4], quantum)
  end
  if place == 0 then
    if #known > 0 then
      visit = math.min(renewal, horizon + terms.slack)
    elseif session[HOLDS] > 0 then
      visit = renewal
    end
  elseif blocked == 0 then
    visit = renewal
    for i = 1, #names do
      if names[i] ~= id then visit = math.min(visit, times[i] - now) end
    end
    visit = math.max(1000, visit)
  else
    local opens = blocked + math.ceil(ahead * terms.interval) - horizon - now
    visit = math.min(renewal, math.max(math.floor(horizon / 2), opens))
  end
end
local answer = string.format('[0,VERSION,%d,%d,%d,%d,%d,%d,%d,%d,%s,[%s],[%s]]', now, s.generation, s.tick,
  adopted and 1 or 0, visit, s.paused, s.quarantine, s.revision, m[8] == s.revision and '0' or s.limits,
  table.concat(arrivals, ','), table.concat(grants, ','))
session[ANSWER] = answer

-- the state is written ----------------------------------------------------------------------------------------------------------

for from = 1, #dropped, CHUNK do
  redis.call('HDEL', key, unpack(dropped, from, math.min(from + CHUNK - 1, #dropped)))
end
local w, n = {}, 0
for log = 1, logs do
  for number, e in pairs(changed[log]) do
    w[n + 1] = string.format('l%d:%d', log, number)
    w[n + 2] = struct.pack('<ddddddddd', e[1], e[2], e[3], e[4], e[5], e[6], e[7], e[8], e[9])
    n = n + 2
  end
end
for name, known in pairs(sessions) do
  w[n + 1], w[n + 2] = 's' .. name, cmsgpack.pack(known)
  n = n + 2
end
-- Set at most once per lease, so for a lease longer than an unused meter has to be kept.
local mustRenew = now >= s.expiry
if mustRenew then s.expiry = now + terms.lease end
local places = {}
local p = {
  s.generation, s.tick, now, s.quarantine, s.paused, s.revision, s.arrival, s.token, s.inUse, s.live, s.mode, s.last, s.base,
  s.steps, s.expiry, terms.permits, terms.rate, terms.burst, terms.lease, terms.slack, terms.interval, terms.quarantine,
  terms.horizon, logs, #names, #queue
}
local at = 26
for i, l in ipairs(s.logs) do
  p[at + 1], p[at + 2] = terms.windows[i].limit, terms.windows[i].per
  p[at + 3], p[at + 4], p[at + 5], p[at + 6], p[at + 7] = l[1], l[2], l[3], l[4], l[5]
  at = at + 7
end
for i = 1, #names do
  places[names[i]] = i
  p[at + i] = times[i]
end
at = at + #names
local named = terms.rate > 0 and logs - 1 or logs
for i = 1, #queue do
  local item = queue[i]
  p[at + 1], p[at + 2], p[at + 3], p[at + 4], p[at + 5] = item[1], places[item[2]], item[3], item[4], item[5]
  for w = 1, named do p[at + 5 + w] = item[6][w] end
  at = at + 5 + named
end
local numbers = ''
for from = 1, at, CHUNK do
  local last = math.min(at, from + CHUNK - 1)
  numbers = numbers .. struct.pack('<' .. string.rep('d', last - from + 1), unpack(p, from, last))
end
w[n + 1], w[n + 2] = 'm', cmsgpack.pack({ VERSION, numbers, s.original, s.limits, names })
for from = 1, n + 2, CHUNK do redis.call('HSET', key, unpack(w, from, math.min(from + CHUNK - 1, n + 2))) end
if mustRenew then
  redis.call('PEXPIRE', key, math.ceil((terms.quarantine + (LEASES_REMEMBERED + 1) * terms.lease) / 1000))
end
for _, name in ipairs(wakes) do wake(name) end
return answer
`

/** The text of the script. */
export const script = source.replaceAll(/\b[A-Z][A-Z_]+\b/g, (name) => String(constants[name] ?? name))
