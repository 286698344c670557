/**
 * `protocol/advance.ts` in Lua, for Redis 6.2 and later, and Valkey. It follows that module function by function, and the tests compare
 * the answers of both. Change both together.
 *
 * The state of a meter is one hash, so that it is lost or kept as a whole and lies on one node of a cluster:
 *
 * | field | value, packed by `cmsgpack` |
 * |---|---|
 * | `m` | the state, but for what follows; its first element is the version of the protocol |
 * | `s` + session | a session |
 * | `l` + log + `:` + number | an entry of a log |
 *
 * A message reads and writes the state, its own session, the sessions that it grants something to, and the entries at both
 * ends of the logs. What a message says is data to the script, and names are never part of its text.
 *
 * `KEYS[1]` is the hash, `ARGV[1]` the message. Wake-ups are published to the channel `KEYS[1]:session`, empty.
 */
export const script = String.raw`
local ceil, floor, max, min = math.ceil, math.floor, math.max, math.min
local key = KEYS[1]
local VERSION = 1
local SLACK, DELIVERY, CATCH_UP = 100000, 100000, 10000
local HORIZON_PER_SESSION, HORIZON_AT_MOST = 500, 200000
local QUANTUM, REMEMBERED, OUTSTANDING, ENTRIES = 64, 10, 256, 1024
local IDLE, PACED, HELD = 0, 1, 2

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
    local limit = max(1, floor(t.rate), t.burst)
    local per = ceil((limit * 1000000) / t.rate)
    t.windows[1] = { limit = limit, per = per }
    t.interval = 1000000 / t.rate
    longest = per
  end
  for _, w in ipairs(l[5]) do
    t.windows[#t.windows + 1] = { limit = w[2], per = w[3] }
    t.slack = min(t.slack, floor(w[3] / 4))
    longest = max(longest, w[3])
  end
  t.quarantine = max(longest + t.slack + HORIZON_AT_MOST, t.lease)
  t.horizon = t.permits > 0 and 20000 or 50000
  return t
end

local function isAlike(one, other)
  local a, b = cjson.decode(one), cjson.decode(other)
  if (a[1] > 0) ~= (b[1] > 0) or (a[2] > 0) ~= (b[2] > 0) or #a[5] ~= #b[5] then return false end
  for i, w in ipairs(a[5]) do
    if w[1] ~= b[5][i][1] then return false end
  end
  return true
end

-- the message, and refusals ------------------------------------------------------------------------------------------

local m = cjson.decode(ARGV[1])
local version, id, seq, generation, tick, configured = m[1], m[2], m[3], m[4], m[5], m[6]
local resized, revision, mHeld, mEnded, mVisit, mPause = m[7], m[8], m[9], m[10], m[11], m[12]
local leave, resizeTo = m[13] == 1, m[14]
local time = clock()

local function number(x) return string.format('%.17g', x) end
local function numbers(list)
  local out = {}
  for i, x in ipairs(list) do out[i] = number(x) end
  return '[' .. table.concat(out, ',') .. ']'
end

local packed = redis.call('HGET', key, 'm')
local s = packed and cmsgpack.unpack(packed)
if s and s[1] ~= VERSION then
  return '[2,' .. number(s[1]) .. ',' .. number(time) .. ',0,0,0,0,0,0,0,0,[],[]]'
end
if s then
  s = {
    generation = s[2], tick = s[3], now = s[4], quarantine = s[5], paused = s[6], revision = s[7], original = s[8],
    limits = s[9], arrival = s[10], token = s[11], inUse = s[12], live = s[13], mode = s[14], last = s[15], base = s[16],
    steps = s[17], logs = s[18], queue = s[19], deadlines = s[20]
  }
end

local function refuse(status)
  return '[' .. status .. ',' .. VERSION .. ',' .. number(s and max(time, s.now) or time) .. ',0,0,0,0,0,0,0,'
    .. (status == 3 and s and s.limits or '0') .. ',[],[]]'
end

if version ~= VERSION then return refuse(2) end
local current = s and s.limits or configured
if configured ~= current and configured ~= s.original then return refuse(3) end
if resizeTo ~= '' and not isAlike(current, resizeTo) then return refuse(3) end

-- sessions: seq, answer, gone, expires, held, visit, due, deliveries, outstanding, aside ----------------------------------

local sessions = {}
local function load(name)
  local known = sessions[name]
  if known then return known end
  local text = redis.call('HGET', key, 's' .. name)
  if not text then return nil end
  known = cmsgpack.unpack(text)
  sessions[name] = known
  return known
end
local SEQ, ANSWER, GONE, EXPIRES, HOLDS, VISIT, DUE, DELIVERIES, KNOWN, ASIDE = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10

local session = s and load(id)
if session and seq <= session[SEQ] then
  if seq < session[SEQ] then return refuse(1) end
  return session[ANSWER]
end

local afresh = m[19] == 1
local function quarantineOf(t)
  if not afresh then return t.quarantine end
  return t.permits > 0 and t.lease or 0
end

-- lost state ----------------------------------------------------------------------------------------------------------

local function create(lost)
  local now = lost and max(time, lost.now) or time
  local limits = resized == '' and configured or resized
  local t = termsOf(limits)
  local known = lost and max(lost.generation, lost.arrival, lost.token) or 0
  local g = max(now, generation + 1, known + 1)
  local logs = {}
  for i = 1, #t.windows do logs[i] = { 1, 0, 1, 0, 0 } end
  if lost then redis.call('DEL', key) end
  sessions = {}
  session = nil
  return {
    generation = g, tick = 0, now = now, quarantine = generation == 0 and 0 or now + quarantineOf(t), paused = 0,
    revision = 1, original = configured, limits = limits, arrival = g, token = g, inUse = 0, live = 0, mode = IDLE,
    last = 0, base = now, steps = 1 - t.burst, logs = logs, queue = {}, deadlines = {}
  }
end

if not s then
  s = create(nil)
elseif generation > s.generation or (generation == s.generation
    and (tick > s.tick or seq > (session and session[SEQ] or 0) + 1)) then
  s = create(s)
end

local terms = termsOf(s.limits)
local now, since = max(time, s.now), s.now
local queue = s.queue

-- logs: head, off, tail, used, began; entries: base, from, interval, count, cost, late, plus, minus, merged ---------------

local HEAD, OFF, TAIL, USED, BEGAN = 1, 2, 3, 4, 5
local BASE, FROM, INTERVAL, COUNT, COST, LATE, PLUS, MINUS, MERGED = 1, 2, 3, 4, 5, 6, 7, 8, 9
local entries, changed, dropped = {}, {}, {}
for i = 1, #s.logs do entries[i], changed[i] = {}, {} end

local function slotAt(run, j) return ceil(run[BASE] + (run[FROM] + j) * run[INTERVAL]) end

local function field(log, number) return 'l' .. log .. ':' .. string.format('%.0f', number) end

local function entryOf(log, number)
  local l = s.logs[log]
  if number < l[HEAD] or number >= l[TAIL] then return nil end
  local known = entries[log][number]
  if not known then
    known = cmsgpack.unpack(redis.call('HGET', key, field(log, number)))
    entries[log][number] = known
  end
  return known
end

local function drop(log, number)
  entries[log][number] = nil
  changed[log][number] = nil
  dropped[#dropped + 1] = field(log, number)
end

local function expire(log, per)
  local l = s.logs[log]
  while l[HEAD] < l[TAIL] do
    local e = entryOf(log, l[HEAD])
    if e[COUNT] > 0 and slotAt(e, e[COUNT] - 1) + e[LATE] + per > now then return end
    l[USED] = l[USED] - ((e[COUNT] - l[OFF]) * e[COST] + e[PLUS] + e[MINUS])
    drop(log, l[HEAD])
    l[HEAD] = l[HEAD] + 1
    l[OFF] = 0
  end
  l[USED] = 0
end

local pHead, pOff, pUsed = {}, {}, {}
local function passageFor(log, limit, per, cost)
  local l = s.logs[log]
  local head, off, used, tail = l[HEAD], l[OFF], l[USED], l[TAIL]
  local nominal, instant = -math.huge, -math.huge
  while used + cost > limit and head < tail do
    local e = entryOf(log, head)
    if off < e[COUNT] then
      local leaves = slotAt(e, off) + per
      nominal = max(nominal, leaves)
      instant = max(instant, leaves + e[LATE])
      used = used - (e[COST] + (off == 0 and e[MINUS] or 0))
      off = off + 1
    else
      used = used - (e[PLUS] + (off == 0 and e[MINUS] or 0))
      head = head + 1
      off = 0
    end
  end
  if head == tail then used = 0 end
  pHead[log], pOff[log], pUsed[log] = head, off, used
  return nominal, instant
end

local function pass(log)
  local l = s.logs[log]
  while l[HEAD] < pHead[log] do
    drop(log, l[HEAD])
    l[HEAD] = l[HEAD] + 1
  end
  l[OFF], l[USED] = pOff[log], pUsed[log]
  if l[OFF] > 0 then
    local e = entryOf(log, l[HEAD])
    if e[MINUS] ~= 0 then
      e[MINUS] = 0
      changed[log][l[HEAD]] = e
    end
  end
end

local function begin(log, per, run, cost, slack)
  local l = s.logs[log]
  local at = slotAt(run, 0)
  l[USED] = l[USED] + cost
  if l[TAIL] - l[HEAD] >= ENTRIES and at - l[BEGAN] < per / ENTRIES then
    local number = l[TAIL] - 1
    local e = entryOf(log, number)
    e[COST] = e[COUNT] * e[COST] + e[PLUS] + e[MINUS] + cost
    e[BASE] = e[COUNT] > 0 and max(slotAt(e, e[COUNT] - 1), at) or at
    e[FROM], e[INTERVAL], e[COUNT], e[LATE] = 0, 0, 1, max(e[LATE], slack)
    e[PLUS], e[MINUS], e[MERGED] = 0, 0, 1
    changed[log][number] = e
    return number
  end
  l[BEGAN] = at
  local number = l[TAIL]
  local e = { run[BASE], run[FROM], run[INTERVAL], 1, cost, slack, 0, 0, 0 }
  entries[log][number] = e
  changed[log][number] = e
  l[TAIL] = number + 1
  return number
end

local function extend(log, number, cost, at)
  local e = entryOf(log, number)
  s.logs[log][USED] = s.logs[log][USED] + cost
  if e[MERGED] == 1 then
    e[COST] = e[COST] + cost
    e[BASE] = max(e[BASE], at)
  else
    e[COUNT] = e[COUNT] + 1
  end
  changed[log][number] = e
end

local function settle(log, number, late, unused)
  local e = entryOf(log, number)
  if not e or e[MERGED] == 1 then return end
  local l = s.logs[log]
  local without = min(unused, e[COUNT])
  local passed = number == l[HEAD] and l[OFF] or 0
  e[LATE] = late or e[LATE]
  e[FROM] = e[FROM] + without
  e[COUNT] = e[COUNT] - without
  l[USED] = l[USED] - e[COST] * max(0, without - passed)
  if passed > 0 then l[OFF] = max(0, passed - without) end
  changed[log][number] = e
end

local function correct(log, number, by)
  local e = entryOf(log, number)
  if not e then return end
  local l = s.logs[log]
  if by > 0 then
    e[PLUS] = e[PLUS] + by
    l[USED] = l[USED] + by
  elseif number ~= l[HEAD] or l[OFF] == 0 then
    local change = max(by, -(e[COUNT] * e[COST] + e[PLUS] + e[MINUS]))
    e[MINUS] = e[MINUS] + change
    l[USED] = l[USED] + change
  end
  changed[log][number] = e
end

-- the pace ------------------------------------------------------------------------------------------------------------

local function slotNow() return s.base + s.steps * terms.interval end
local function rebase(base, steps) s.base, s.steps = base, steps end

local function standStill()
  if s.mode ~= HELD then return end
  local slot = slotNow()
  if slot <= since then s.base = s.base + (now - since)
  elseif slot < now then rebase(now, 0) end
end

-- demand: items are arrival, session, batch, count, weight, costs; deliveries: id, batch, base, from, interval, count, weight,
-- entries, arrival, costs, asked -----------------------------------------------------------------------------------------

local function setDeadline(name, at)
  for _, d in ipairs(s.deadlines) do
    if d[1] == name then
      d[2] = at
      return
    end
  end
  s.deadlines[#s.deadlines + 1] = { name, at }
end

local function enqueue(item)
  local index = #queue + 1
  while index > 1 and queue[index - 1][1] > item[1] do index = index - 1 end
  table.insert(queue, index, item)
end

local function takeBack(name, known)
  local items = {}
  for i, d in ipairs(known[DELIVERIES]) do
    for log, number in ipairs(d[8]) do
      settle(log, number, nil, d[6])
    end
    known[HOLDS] = known[HOLDS] - d[6] * d[7]
    s.inUse = s.inUse - d[6] * d[7]
    items[i] = { d[9], name, d[2], d[6], d[11], d[10] }
  end
  known[DELIVERIES] = {}
  known[DUE] = 0
  return items
end

local function recall()
  for _, d in ipairs(s.deadlines) do
    local known = load(d[1])
    for _, item in ipairs(takeBack(d[1], known)) do enqueue(item) end
    if known[GONE] == 0 then d[2] = known[EXPIRES] end
  end
end

local function finish(name, known)
  takeBack(name, known)
  s.inUse = s.inUse - known[HOLDS]
  s.live = s.live - 1
  known[HOLDS], known[GONE], known[KNOWN], known[ASIDE] = 0, 1, {}, {}
  for index = #queue, 1, -1 do
    if queue[index][2] == name then table.remove(queue, index) end
  end
  setDeadline(name, now + REMEMBERED * terms.lease)
end

local function checkDeadlines()
  local index = 1
  while index <= #s.deadlines do
    local d = s.deadlines[index]
    index = index + 1
    if d[2] <= now then
      local known = load(d[1])
      if known[GONE] == 1 then
        sessions[d[1]] = nil
        redis.call('HDEL', key, 's' .. d[1])
        index = index - 1
        table.remove(s.deadlines, index)
      elseif known[EXPIRES] <= now then
        finish(d[1], known)
      else
        for _, item in ipairs(takeBack(d[1], known)) do table.insert(known[ASIDE], item) end
        d[2] = known[EXPIRES]
      end
    end
  end
end

local wakes, woken = {}, {}
local function addWake(name)
  if not woken[name] then
    woken[name] = true
    wakes[#wakes + 1] = name
  end
end
local function wakeOthers()
  for _, d in ipairs(s.deadlines) do
    if d[1] ~= id and load(d[1])[GONE] == 0 then addWake(d[1]) end
  end
end

local arrivals = {}
local function read()
  local ended = min(mEnded, session[HOLDS])
  session[HOLDS] = session[HOLDS] - ended
  s.inUse = s.inUse - ended
  for _, r in ipairs(m[15]) do
    for index, known in ipairs(session[KNOWN]) do
      if known[1] == r[1] then
        table.remove(session[KNOWN], index)
        for log, number in ipairs(known[2]) do settle(log, number, r[2], r[3]) end
        break
      end
    end
  end
  for _, item in ipairs(session[ASIDE]) do enqueue(item) end
  session[ASIDE] = {}
  for _, w in ipairs(m[17]) do
    local left, index = w[2], 1
    while index <= #queue and left > 0 do
      local item = queue[index]
      index = index + 1
      if item[2] == id and item[3] == w[1] then
        local less = min(left, item[4])
        left = left - less
        item[4] = item[4] - less
        if item[4] == 0 then
          index = index - 1
          table.remove(queue, index)
        end
      end
    end
  end
  for _, d in ipairs(m[18]) do
    local arrival = d[4] > 0 and d[4] or s.arrival + 1
    s.arrival = max(s.arrival, arrival)
    arrivals[#arrivals + 1] = numbers({ d[1], arrival })
    enqueue({ arrival, id, d[1], d[2], d[3], d[5] })
  end
end

-- grants ----------------------------------------------------------------------------------------------------------------

local blocked = 0
local function horizonNow() return min(HORIZON_AT_MOST, max(terms.horizon, HORIZON_PER_SESSION * s.live)) end

local function quantumNow(horizon)
  local rate, permits = terms.rate, terms.permits
  return max(1, min(
    rate > 0 and floor(horizon / 2 / terms.interval) or QUANTUM,
    permits > 0 and ceil(permits / 8) or math.huge
  ))
end

local recipients, received = {}, {}
local function grantTo(item, to, most, untilTime)
  local windows, rate, permits, interval = terms.windows, terms.rate, terms.permits, terms.interval
  local weight = min(item[5], permits)
  local paced = rate > 0 and 1 or 0
  local costs, logs = {}, #windows
  for log = 1, logs do
    costs[log] = log <= paced and 1 or min(item[6][log - paced], windows[log].limit)
  end
  local run = nil
  for given = 0, most - 1 do
    if permits > 0 and s.inUse + weight > permits then
      s.mode = HELD
      blocked = 0
      return given
    end
    local slot = paced == 1 and ceil(slotNow()) or 0
    local instant = max(now, s.last, slot)
    local pace, rated = slot, slot
    for log = 1, logs do
      if costs[log] ~= 0 then
        local nominal, opens = passageFor(log, windows[log].limit, windows[log].per, costs[log])
        if opens > instant then instant = opens end
        if log <= paced then
          if opens > rated then rated = opens end
          if nominal > pace then pace = nominal end
        elseif opens > pace then
          pace = opens
        end
      end
    end
    if instant > untilTime then
      s.mode = rated > untilTime and PACED or HELD
      blocked = instant
      return given
    end
    local base, from, step = instant, 0, 0
    if paced == 1 then
      if pace > slot then rebase(pace, 0) end
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
    s.token = s.token + 1
    for log = 1, logs do
      if costs[log] ~= 0 then pass(log) end
    end
    local goesOn = run and ceil(run[3] + (run[4] + run[6]) * run[5]) == instant
    if goesOn then
      for log = 1, logs do
        if run[8][log] > 0 and run[8][log] < s.logs[log][HEAD] then goesOn = false end
      end
    end
    if goesOn then
      for log = 1, logs do
        if run[8][log] > 0 then extend(log, run[8][log], costs[log], instant) end
      end
      run[6] = run[6] + 1
    else
      local place, numbersOfEntries = { base, from, step }, {}
      for log = 1, logs do
        numbersOfEntries[log] = costs[log] == 0 and 0 or begin(log, windows[log].per, place, costs[log], terms.slack)
      end
      run = { s.token, item[3], base, from, step, 1, weight, numbersOfEntries, item[1], item[6], item[5] }
      table.insert(to[DELIVERIES], run)
      if not received[item[2]] then
        received[item[2]] = true
        recipients[#recipients + 1] = item[2]
      end
    end
  end
  return most
end

local function grant()
  local rate, interval, burst = terms.rate, terms.interval, terms.burst
  if #queue == 0 then
    s.mode = IDLE
    return
  end
  if s.quarantine > now or s.paused > now then
    s.mode = HELD
    blocked = max(s.quarantine, s.paused)
    return
  end
  local horizon = horizonNow()
  if rate > 0 then
    local slot = slotNow()
    if s.mode == IDLE and slot < now - (burst - 1) * interval then rebase(now, 1 - burst)
    elseif s.mode == PACED and slot < now - CATCH_UP then rebase(now - CATCH_UP, 0) end
  end
  local quantum = quantumNow(horizon)
  s.mode = IDLE
  while #queue > 0 do
    local item = queue[1]
    local most = #queue > 1 and min(item[4], quantum) or item[4]
    local given = grantTo(item, load(item[2]), most, now + horizon)
    item[4] = item[4] - given
    if item[4] == 0 then
      table.remove(queue, 1)
    elseif given < most then
      break
    else
      table.remove(queue, 1)
      s.arrival = s.arrival + 1
      item[1] = s.arrival
      queue[#queue + 1] = item
    end
  end
  for _, name in ipairs(recipients) do
    if name ~= id then
      local to = load(name)
      to[DUE] = now + max(DELIVERY, horizon)
      setDeadline(name, min(to[EXPIRES], to[DUE]))
      local first = to[DELIVERIES][1]
      if to[VISIT] == 0 or ceil(first[3] + first[4] * first[5]) < to[VISIT] then addWake(name) end
    end
  end
end

local function nextVisit()
  local renewal = floor(terms.lease / 3)
  local horizon = horizonNow()
  local place, ahead, quantum = 0, 0, quantumNow(horizon)
  for index, item in ipairs(queue) do
    if item[2] == id then
      place = index
      break
    end
    ahead = ahead + min(item[4], quantum)
  end
  if place == 0 then
    if #session[KNOWN] > 0 then return min(renewal, horizon + DELIVERY) end
    return session[HOLDS] > 0 and renewal or 0
  end
  if blocked == 0 then
    local visit = renewal
    for _, d in ipairs(s.deadlines) do
      if d[1] ~= id then visit = min(visit, d[2] - now) end
    end
    return max(1000, visit)
  end
  local opens = blocked + ceil(ahead * terms.interval) - horizon - now
  return min(renewal, max(floor(horizon / 2), opens))
end

-- one message -------------------------------------------------------------------------------------------------------------

s.now = now
s.tick = s.tick + 1
standStill()
for log = 1, #s.logs do expire(log, terms.windows[log].per) end
checkDeadlines()
if generation ~= 0 and generation < s.generation and s.quarantine == 0 then
  s.quarantine = now + quarantineOf(terms)
  recall()
end
if resizeTo ~= '' and resizeTo ~= s.limits then
  local slot = slotNow()
  s.limits = resizeTo
  s.revision = s.revision + 1
  terms = termsOf(resizeTo)
  rebase(ceil(min(slot, max(now, s.last + terms.interval))), 0)
  wakeOthers()
end
session = load(id)
local adopted = (not session or session[GONE] == 1) and seq > 1
if not session or session[GONE] == 1 then
  session = session or { 0, '', 0, 0, 0, 0, 0, {}, {}, {} }
  sessions[id] = session
  session[GONE] = 0
  session[HOLDS] = mHeld
  s.inUse = s.inUse + mHeld
  s.live = s.live + 1
end
session[SEQ] = seq
session[VISIT] = mVisit > 0 and now + mVisit or 0
session[EXPIRES] = now + terms.lease
if not adopted then read() end
if generation == s.generation then
  for _, c in ipairs(m[16]) do correct(c[1] + 1, c[2], c[3]) end
end
if mPause >= 0 then
  if mPause == 0 then
    s.paused = min(s.paused, now)
  else
    s.paused = max(s.paused, now + mPause)
    recall()
  end
  wakeOthers()
end
if leave then finish(id, session) end
grant()

local grants = {}
for i, d in ipairs(session[DELIVERIES]) do
  local list = numbers({ d[1], d[2], d[3], d[4], d[5], d[6], d[7] })
  grants[i] = string.sub(list, 1, -2) .. ',' .. numbers(d[8]) .. ']'
  table.insert(session[KNOWN], { d[1], d[8] })
end
while #session[KNOWN] > OUTSTANDING do table.remove(session[KNOWN], 1) end
session[DELIVERIES] = {}
session[DUE] = 0
if session[GONE] == 0 then setDeadline(id, session[EXPIRES]) end
local answer = string.sub(numbers({
  0, VERSION, now, s.generation, s.tick, adopted and 1 or 0, session[GONE] == 1 and 0 or nextVisit(), s.paused,
  s.quarantine, s.revision
}), 1, -2) .. ',' .. (revision == s.revision and '0' or s.limits)
  .. ',[' .. table.concat(arrivals, ',') .. '],[' .. table.concat(grants, ',') .. ']]'
session[ANSWER] = answer

for _, name in ipairs(dropped) do redis.call('HDEL', key, name) end
for log, list in ipairs(changed) do
  for number, e in pairs(list) do redis.call('HSET', key, field(log, number), cmsgpack.pack(e)) end
end
for name, known in pairs(sessions) do redis.call('HSET', key, 's' .. name, cmsgpack.pack(known)) end
redis.call('HSET', key, 'm', cmsgpack.pack({
  VERSION, s.generation, s.tick, s.now, s.quarantine, s.paused, s.revision, s.original, s.limits, s.arrival, s.token,
  s.inUse, s.live, s.mode, s.last, s.base, s.steps, s.logs, queue, s.deadlines
}))
redis.call('PEXPIRE', key, ceil((terms.quarantine + REMEMBERED * terms.lease) / 1000))
for _, name in ipairs(wakes) do wake(name) end
return answer
`
