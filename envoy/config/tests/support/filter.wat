;; The least module that Envoy takes for a filter (proxy-wasm 0.2.1): a root context that starts, requests that pass, and one
;; of the real filter's counters.
(module
  (import "env" "proxy_define_metric" (func $define_metric (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func $increment_metric (param i32 i64) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "gateway_issuer_fetches_total.result.failed.issuer.issuer_example")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $define_metric (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 512)))
    (drop (call $increment_metric (i32.load (i32.const 512)) (i64.const 1)))
    (i32.const 1)))
