"""Export: C++ code that checks the inputs of a package at each call, with names of the spec.

AOTInductor reads each input as memory with the type, shape and strides that it was compiled for,
without checking the tensor: int32 ids, a column of a matrix, or fewer rows than another input are
read as other numbers, or past their end. Its own checks must be switched on by an environment
variable, ignore numbers of rows, and identify inputs by number. The checks here are always on.
"""

from __future__ import annotations

from collections.abc import Sequence

from homespec.export.inputs import Input

FUNCTION = "homespec_check_inputs"
REPLACED = "__check_inputs_outputs"
"""The function that AOTInductor's code calls first; a macro replaces it by ours."""

TEMPLATE = """
struct ExpectedInput {
    const char* name;
    int32_t dtype;
    const char* dtype_name;
    bool user;
    int64_t row_dims;
    int64_t row[2];
};

static std::string name_of_dtype(int32_t dtype) {
    if (dtype == aoti_torch_dtype_int64()) return "int64";
    if (dtype == aoti_torch_dtype_int32()) return "int32";
    if (dtype == aoti_torch_dtype_float32()) return "float32";
    if (dtype == aoti_torch_dtype_float64()) return "float64";
    if (dtype == aoti_torch_dtype_float16()) return "float16";
    if (dtype == aoti_torch_dtype_bfloat16()) return "bfloat16";
    if (dtype == aoti_torch_dtype_bool()) return "bool";
    return "another type";
}

static std::string shape_of(const int64_t* sizes, int64_t dims) {
    std::string text = "[";
    for (int64_t d = 0; d < dims; ++d) {
        if (d) text += ", ";
        text += std::to_string(sizes[d]);
    }
    return text + "]";
}

static std::string wanted_shape(const ExpectedInput& wanted) {
    std::string text = wanted.user ? "[1" : "[batch";
    for (int64_t d = 0; d < wanted.row_dims; ++d) text += ", " + std::to_string(wanted.row[d]);
    return text + "]";
}

AOTI_NOINLINE static void refuse_input(const ExpectedInput& wanted, const std::string& reason) {
    throw std::runtime_error("the input `" + std::string(wanted.name) + "` " + reason);
}

AOTI_NOINLINE static void FUNCTION(
    AtenTensorHandle* input_handles, AtenTensorHandle* output_handles) {
    static const ExpectedInput inputs[] = {
INPUTS
    };
    int64_t rows = -1;
    const char* counted = "";
    size_t index = 0;
    for (const ExpectedInput& wanted : inputs) {
        AtenTensorHandle tensor = input_handles[index++];
        int32_t dtype = 0;
        int32_t device = 0;
        int64_t dims = 0;
        int64_t* sizes = nullptr;
        int64_t* strides = nullptr;
        AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(tensor, &dtype));
        AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(tensor, &device));
        AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_dim(tensor, &dims));
        AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_sizes(tensor, &sizes));
        AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_strides(tensor, &strides));
        if (dtype != wanted.dtype)
            refuse_input(wanted, "must be " + std::string(wanted.dtype_name) + ", not "
                + name_of_dtype(dtype));
        bool fits = dims == wanted.row_dims + 1 && (!wanted.user || sizes[0] == 1);
        for (int64_t d = 0; fits && d < wanted.row_dims; ++d) fits = sizes[d + 1] == wanted.row[d];
        if (!fits)
            refuse_input(wanted, "must be " + wanted_shape(wanted) + ", not "
                + shape_of(sizes, dims));
        if (device != DEVICE()) refuse_input(wanted, "must be on DEVICE_NAME");
        if (rows < 0 && !wanted.user) {
            rows = sizes[0];
            counted = wanted.name;
        }
        if (sizes[0] < 1) refuse_input(wanted, "has no rows");
        if (sizes[0] != rows && !wanted.user)
            refuse_input(wanted, "has " + std::to_string(sizes[0]) + " rows, and `"
                + counted + "` has " + std::to_string(rows));
        int64_t stride = 1;
        for (int64_t d = dims - 1; d >= 0; --d) {
            if (sizes[d] != 1 && strides[d] != stride)
                refuse_input(wanted, "must be contiguous: its strides are "
                    + shape_of(strides, dims) + " for the shape " + shape_of(sizes, dims));
            stride *= sizes[d];
        }
    }
}
#define REPLACED FUNCTION
"""


def checks(inputs: Sequence[Input], device: str) -> str:
    """C++ code of a function that throws for inputs that do not match their description."""
    words = {
        "INPUTS": "\n".join(map(_line, inputs)),
        "DEVICE_NAME": device,
        "DEVICE": f"aoti_torch_device_type_{device}",
        "FUNCTION": FUNCTION,
        "REPLACED": REPLACED,
    }
    text = TEMPLATE
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text


def _line(one: Input) -> str:
    row = ", ".join(map(str, [*one.row, 0, 0][:2]))
    dtype = f'aoti_torch_dtype_{one.dtype}(), "{one.dtype}", {str(one.user).lower()}'
    return f'        {{"{one.name}", {dtype}, {len(one.row)}, {{{row}}}}},'
