#ifndef GNOMON_ORT_API_H
#define GNOMON_ORT_API_H

#include <stdint.h>

// The binding wraps most of ONNX Runtime's C interface, and keeps its table of functions to itself. The table only ever
// grows at its end, so a function is found by its place in it; TestAPITable compares the places with the header.
typedef void *(*get_api)(uint32_t);
typedef struct { get_api get; } api_base;

enum {
	api_error_message = 2, api_create_env = 3, api_release_env = 92, api_release_status = 93,
	api_ep_devices = 303, api_append_v2 = 304, api_ep_name = 312,
	api_assignment = 407, api_subgraph_ep = 408, api_subgraph_nodes = 409,
	api_make_tensor = 48, api_wrap_tensor = 49, api_tensor_data = 51, api_make_info = 68, api_release_info = 94, api_release_value = 96,
	api_make_allocator = 131, api_release_allocator = 132, api_run_binding = 133, api_make_binding = 134,
	api_output_info = 34, api_tensor_info = 55, api_dimensions = 61, api_get_dimensions = 62, api_release_type = 98,
	api_release_binding = 135, api_bind_input = 136, api_bind_output = 137,
};

// AT is the function at a place, by its type.
#define AT(api, place, type) ((type)((void **)(api))[place])

#endif
