-- Writes a group. Its first line says whether it may while the server's memory is full.
-- KEYS: as in claim.lua.
-- ARGV: epoch; the id of its claim; the group's number and the one before; seconds for which
-- a silent session's sayings are kept; then four for each change: what, of what, which, bytes.
-- Gives 'fenced' and the later epoch, 'behind', or 'stored'.
local head, sessions, dead, speakers, said = unpack(KEYS)
local mine, claim, number, before, kept = unpack(ARGV, 1, 5)
local epoch, last_claim, last, fresh = unpack(redis.call('HMGET', head, 'epoch', 'claim', 'number', 'fresh'))

if epoch and epoch > mine then
  return {'fenced', epoch}
elseif epoch ~= mine or last_claim ~= claim then
  return {'behind'}
elseif number <= last then
  return {'stored'}
elseif before ~= last or #ARGV == 5 then
  return {'behind'}
end

local spoke = {}
local change = {
  session = function(key, _, bytes)
    redis.call('HSET', sessions, key, bytes)
  end,
  forget = function(key)
    redis.call('HDEL', sessions, key)
    redis.call('UNLINK', said .. key)
    redis.call('ZREM', speakers, key)
    spoke[key] = nil
  end,
  dead = function(chunk, _, bytes)
    redis.call('HSET', dead, chunk, bytes)
  end,
  undead = function(chunk)
    redis.call('HDEL', dead, chunk)
  end,
  said = function(key, id, bytes)
    redis.call('HSET', said .. key, id, bytes)
    spoke[key] = true
  end,
  unsaid = function(key, id)
    redis.call('HDEL', said .. key, id)
  end,
  tails = function(_, _, bytes)
    redis.call('HSET', head, 'tails', bytes)
  end,
  notails = function()
    redis.call('HDEL', head, 'tails')
  end,
  whole = function()
    redis.call('HSET', head, 'whole', 1)
  end,
}
for at = 6, #ARGV, 4 do
  change[ARGV[at]](ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
end

if next(spoke) then
  local now = tonumber(redis.call('TIME')[1])
  for key in pairs(spoke) do
    redis.call('EXPIRE', said .. key, kept)
    redis.call('ZADD', speakers, now + kept, key)
  end
  redis.call('ZREMRANGEBYSCORE', speakers, '-inf', now)
  redis.call('EXPIRE', speakers, kept)
end
if fresh then
  redis.call('HDEL', head, 'fresh')
end
redis.call('HSET', head, 'number', number)
return {'stored'}
