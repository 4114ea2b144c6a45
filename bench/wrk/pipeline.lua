-- SPDX-License-Identifier: Apache-2.0
-- Sends several requests before it reads: wrk -s pipeline.lua URL -- DEPTH
local batch

function init(args)
   batch = string.rep(wrk.format("GET"), tonumber(args[1]) or 8)
end

function request()
   return batch
end
