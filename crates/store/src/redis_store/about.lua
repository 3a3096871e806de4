#!lua flags=allow-oom
-- Whose store this is; an empty one becomes the caller's.
-- KEYS: about. ARGV: cluster, shards, schema, an incarnation if it is to begin.
-- Gives what stands there, in that order.
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'cluster', ARGV[1], 'shards', ARGV[2], 'schema', ARGV[3], 'incarnation', ARGV[4])
end
return redis.call('HMGET', KEYS[1], 'cluster', 'shards', 'schema', 'incarnation')
