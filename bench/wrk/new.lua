-- SPDX-License-Identifier: Apache-2.0
-- A new connection for each request: wrk -s new.lua URL
-- The server closes after its answer, which wrk counts as a read error.
wrk.headers["Connection"] = "close"
