// The least shared library that Envoy takes for a filter's native module.
//
// It lets every request pass. Envoy 1.39 and 1.40 want each of these names, whatever stands behind it.

const char *envoy_dynamic_module_on_program_init(void) { return "v0.2.0"; }

// What they return is 0 to go on with a request, and an address that is not null where Envoy asks for an object.
static void *object(void) { static int some; return &some; }

void *envoy_dynamic_module_on_http_filter_config_new(void) { return object(); }
void *envoy_dynamic_module_on_http_filter_new(void) { return object(); }

#define GOES_ON(name) int envoy_dynamic_module_on_http_filter_##name(void) { return 0; }
#define IS_TOLD(name) void envoy_dynamic_module_on_http_filter_##name(void) {}

GOES_ON(request_headers)
GOES_ON(request_body)
GOES_ON(request_trailers)
GOES_ON(response_headers)
GOES_ON(response_body)
GOES_ON(response_trailers)
IS_TOLD(config_destroy)
IS_TOLD(destroy)
IS_TOLD(stream_complete)
IS_TOLD(scheduled)
IS_TOLD(http_callout_done)
IS_TOLD(http_stream_headers)
IS_TOLD(http_stream_data)
IS_TOLD(http_stream_trailers)
IS_TOLD(http_stream_complete)
IS_TOLD(http_stream_reset)
IS_TOLD(downstream_above_write_buffer_high_watermark)
IS_TOLD(downstream_below_write_buffer_low_watermark)

// The same for the network filter that counts connections.
void *envoy_dynamic_module_on_network_filter_config_new(void) { return object(); }
void *envoy_dynamic_module_on_network_filter_new(void) { return object(); }

#define CONNECTION_GOES_ON(name) int envoy_dynamic_module_on_network_filter_##name(void) { return 0; }
#define IS_TOLD_OF_CONNECTION(name) void envoy_dynamic_module_on_network_filter_##name(void) {}

CONNECTION_GOES_ON(new_connection)
CONNECTION_GOES_ON(read)
CONNECTION_GOES_ON(write)
IS_TOLD_OF_CONNECTION(config_destroy)
IS_TOLD_OF_CONNECTION(event)
IS_TOLD_OF_CONNECTION(destroy)
