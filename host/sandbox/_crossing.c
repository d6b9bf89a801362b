/* How values cross between Python and a guest, in C: the same three functions as crossing.py, which says what they do and
 * why. Built when the host is installed, if there is a C compiler (tools/build_crossing.py); chosen by native.py.
 *
 * The library's functions are called by the addresses that setup() is given, so that nothing is linked and the library is
 * exactly the one that capi.py has checked. The layouts below belong to that release, as those of capi.py do.
 *
 * Ownership: a result that is written belongs to the library. Arguments are borrowed for the call. What a callback is
 * bound to (struct import) is never freed: the table of imports lives as long as the process.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef SOURCE
#define SOURCE "unknown"
#endif

enum { BOOL = 0, U16 = 4, U32 = 6, F64 = 10, STRING = 12, RECORD = 14, OPTION = 18, RESULT = 19 };
enum { NOTHING = 31, OPTIONAL = 32, REFUSABLE = 64 };
enum { PARAMETERS_MAX = 16 };

typedef struct { size_t size; const char *data; } bytes_vec;

typedef struct val {
    uint8_t kind;
    union {
        bool boolean;
        uint16_t u16;
        uint32_t u32;
        double f64;
        bytes_vec string;
        struct val *option;
        struct { bool is_ok; struct val *value; } result;
        struct { size_t size; struct entry *data; } record;
        uint64_t raw[3];
    } of;
} val;

typedef struct entry { bytes_vec name; val value; } entry;

_Static_assert(sizeof(val) == 32 && offsetof(val, of) == 8, "wasmtime_component_val_t");
_Static_assert(offsetof(val, of.result.value) == 16, "wasmtime_component_val_t.of.result");
_Static_assert(sizeof(entry) == 48, "wasmtime_component_valrecord_entry_t");

static struct {
    void *(*call_async)(const void *, void *, const val *, size_t, val *, size_t, void **);
    bool (*poll)(void *);
    void (*future_delete)(void *);
    void (*set_epoch_deadline)(void *, uint64_t);
    void (*bytes_new)(bytes_vec *, size_t, const char *);
    val *(*val_new)(val *);
    void (*record_new)(void *, size_t);
    void *(*error_new)(const char *);
} lib;

static PyObject *instances, *refusal_type, *str_call, *str_failure, *str_name, *str_message;

typedef struct {
    PyObject *name, *answer;
    uint8_t count, result, kinds[PARAMETERS_MAX];
} import;

/* The data of a bytes object that is UTF-8; NULL with an exception set when it is not. */
static const char *checked_text(PyObject *value, Py_ssize_t *size)
{
    char *data;
    if (PyBytes_AsStringAndSize(value, &data, size) < 0)
        return NULL;
    Py_ssize_t at = 0;
    while (at + 8 <= *size) {
        uint64_t word;
        memcpy(&word, data + at, 8);
        if (word & UINT64_C(0x8080808080808080))
            break;
        at += 8;
    }
    while (at < *size && !(data[at] & 0x80))
        at++;
    if (at < *size) {
        PyObject *text = PyUnicode_DecodeUTF8(data, *size, NULL);
        if (text == NULL)
            return NULL;
        Py_DECREF(text);
    }
    return data;
}

/* A number or a boolean. 0, or -1 with an exception set. */
static int write_plain(val *to, uint8_t kind, PyObject *value)
{
    unsigned long number = 0;
    switch (kind) {
    case BOOL:
        if (!PyBool_Check(value))
            goto wrong;
        to->of.boolean = value == Py_True;
        break;
    case F64:
        to->of.f64 = PyFloat_AsDouble(value);
        if (to->of.f64 == -1.0 && PyErr_Occurred())
            return -1;
        break;
    case U16:
    case U32:
        number = PyLong_AsUnsignedLong(value);
        if (number == (unsigned long)-1 && PyErr_Occurred())
            return -1;
        if (number > (kind == U16 ? UINT16_MAX : UINT32_MAX)) {
            PyErr_SetString(PyExc_OverflowError, "a number is too large for its type");
            return -1;
        }
        if (kind == U16)
            to->of.u16 = (uint16_t)number;
        else
            to->of.u32 = (uint32_t)number;
        break;
    default:
        goto wrong;
    }
    to->kind = kind;
    return 0;
wrong:
    PyErr_SetString(PyExc_TypeError, "a value is of another type than the world says");
    return -1;
}

/* Calling an export. */

static PyObject *begin(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 8) {
        PyErr_SetString(PyExc_TypeError, "begin takes 8 arguments");
        return NULL;
    }
    void *function = PyLong_AsVoidPtr(args[0]), *context = PyLong_AsVoidPtr(args[1]);
    val *block = PyLong_AsVoidPtr(args[2]), *results = PyLong_AsVoidPtr(args[5]);
    size_t count = PyLong_AsSize_t(args[6]);
    void **error = PyLong_AsVoidPtr(args[7]);
    char *kinds;
    Py_ssize_t size;
    if (PyErr_Occurred() || PyBytes_AsStringAndSize(args[3], &kinds, &size) < 0)
        return NULL;
    if (!PyTuple_Check(args[4]) || PyTuple_GET_SIZE(args[4]) != size)
        return PyErr_Format(PyExc_TypeError, "%zd arguments are needed", size);
    for (Py_ssize_t index = 0; index < size; index++) {
        PyObject *value = PyTuple_GET_ITEM(args[4], index);
        val *to = block + index;
        if (kinds[index] != STRING) {
            if (write_plain(to, (uint8_t)kinds[index], value) < 0)
                return NULL;
            continue;
        }
        Py_ssize_t length;
        const char *data = checked_text(value, &length);
        if (data == NULL)
            return NULL;
        to->kind = STRING;
        to->of.string = (bytes_vec){(size_t)length, data};
    }
    void *future = lib.call_async(function, context, block, (size_t)size, results, count, error);
    lib.set_epoch_deadline(context, 1);
    return PyLong_FromVoidPtr(future);
}

static PyObject *poll(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "poll takes 2 arguments");
        return NULL;
    }
    void *future = PyLong_AsVoidPtr(args[0]);
    void **error = PyLong_AsVoidPtr(args[1]);
    if (PyErr_Occurred())
        return NULL;
    bool done;
    Py_BEGIN_ALLOW_THREADS
    done = lib.poll(future);
    Py_END_ALLOW_THREADS
    if (!done)
        Py_RETURN_NONE;
    lib.future_delete(future);
    void *found = *error;
    *error = NULL;
    return PyLong_FromVoidPtr(found);
}

/* Answering an import. */

static PyObject *read_argument(const val *from, uint8_t kind)
{
    if (from->kind != (kind & OPTIONAL ? OPTION : kind)) {
        PyErr_SetString(PyExc_ValueError, "an argument is of another type than the world says");
        return NULL;
    }
    switch (from->kind) {
    case BOOL:
        return PyBool_FromLong(from->of.boolean);
    case U16:
        return PyLong_FromUnsignedLong(from->of.u16);
    case U32:
        return PyLong_FromUnsignedLong(from->of.u32);
    case F64:
        return PyFloat_FromDouble(from->of.f64);
    case STRING:
        return PyBytes_FromStringAndSize(from->of.string.data, (Py_ssize_t)from->of.string.size);
    default:
        if (from->of.option == NULL)
            Py_RETURN_NONE;
        return read_argument(from->of.option, kind & (uint8_t)~OPTIONAL);
    }
}

static int write_result(val *to, uint8_t kind, PyObject *value);

/* A value on the library's own heap. 0, or -1 with an exception set. */
static int write_boxed(val **box, uint8_t kind, PyObject *value)
{
    val inner;
    memset(&inner, 0, sizeof inner);
    if (write_result(&inner, kind, value) < 0)
        return -1;
    *box = lib.val_new(&inner);
    return 0;
}

static int write_result(val *to, uint8_t kind, PyObject *value)
{
    if (kind == NOTHING)
        return 0;
    if (kind == STRING) {
        Py_ssize_t size;
        const char *data = checked_text(value, &size);
        if (data == NULL)
            return -1;
        lib.bytes_new(&to->of.string, (size_t)size, data);
        to->kind = STRING;
        return 0;
    }
    val *box = NULL;
    if (kind & REFUSABLE) {
        uint8_t inner = kind & (uint8_t)~REFUSABLE;
        if (inner != NOTHING && write_boxed(&box, inner, value) < 0)
            return -1;
        to->kind = RESULT;
        to->of.result.is_ok = true;
        to->of.result.value = box;
        return 0;
    }
    if (kind & OPTIONAL) {
        if (value != Py_None && write_boxed(&box, kind & (uint8_t)~OPTIONAL, value) < 0)
            return -1;
        to->kind = OPTION;
        to->of.option = box;
        return 0;
    }
    return write_plain(to, kind, value);
}

static void write_field(entry *to, const char *field, const char *data, Py_ssize_t size)
{
    lib.bytes_new(&to->name, strlen(field), field);
    lib.bytes_new(&to->value.of.string, (size_t)size, data);
    to->value.kind = STRING;
}

/* The `err` case of result<_, refusal>. 0, or -1 with an exception set. */
static int write_refusal(val *to, PyObject *refusal)
{
    int done = -1;
    PyObject *name = PyObject_GetAttr(refusal, str_name), *message = PyObject_GetAttr(refusal, str_message);
    Py_ssize_t name_size, message_size;
    const char *name_data = name == NULL ? NULL : PyUnicode_AsUTF8AndSize(name, &name_size);
    const char *message_data = message == NULL ? NULL : PyUnicode_AsUTF8AndSize(message, &message_size);
    if (name_data != NULL && message_data != NULL) {
        val record;
        memset(&record, 0, sizeof record);
        lib.record_new(&record.of, 2);
        write_field(&record.of.record.data[0], "name", name_data, name_size);
        write_field(&record.of.record.data[1], "message", message_data, message_size);
        record.kind = RECORD;
        to->kind = RESULT;
        to->of.result.is_ok = false;
        to->of.result.value = lib.val_new(&record);
        done = 0;
    }
    Py_XDECREF(name);
    Py_XDECREF(message);
    return done;
}

/* The exception that is set, taken over. */
static PyObject *take_exception(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(value, traceback);
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

/* Runs the answer and writes its result. 0, or -1 with an exception set. */
static int answer(const import *bound, PyObject *instance, const val *args, size_t nargs, val *results, size_t nresults)
{
    if (nargs != bound->count || nresults != (size_t)(bound->result != NOTHING)) {
        PyErr_Format(PyExc_ValueError, "%U was called with %zu arguments for %zu results", bound->name, nargs, nresults);
        return -1;
    }
    PyObject *stack[PARAMETERS_MAX + 1], *value = NULL;
    size_t filled = 0;
    if ((stack[filled] = PyObject_GetAttr(instance, str_call)) == NULL)
        return -1;
    filled++;
    for (; filled <= nargs; filled++)
        if ((stack[filled] = read_argument(&args[filled - 1], bound->kinds[filled - 1])) == NULL)
            break;
    if (filled == nargs + 1)
        value = PyObject_Vectorcall(bound->answer, stack, filled, NULL);
    while (filled > 0)
        Py_DECREF(stack[--filled]);
    if (value != NULL) {
        int written = write_result(results, bound->result, value);
        Py_DECREF(value);
        return written;
    }
    if (!(bound->result & REFUSABLE) || !PyErr_ExceptionMatches(refusal_type))
        return -1;
    PyObject *refusal = take_exception();
    int written = write_refusal(results, refusal);
    Py_DECREF(refusal);
    return written;
}

static void *callback(void *env, void *context, const void *type, val *args, size_t nargs, val *results, size_t nresults)
{
    void *error = NULL;
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *key = PyLong_FromVoidPtr(context);
    PyObject *instance = key == NULL ? NULL : PyDict_GetItemWithError(instances, key);
    Py_XDECREF(key);
    Py_XINCREF(instance);
    if (instance == NULL || answer(env, instance, args, nargs, results, nresults) < 0) {
        if (PyErr_Occurred()) {
            PyObject *raised = take_exception();
            if (instance != NULL && PyObject_SetAttr(instance, str_failure, raised) < 0)
                PyErr_Clear();
            Py_DECREF(raised);
        }
        error = lib.error_new("the host refused an import");
    }
    Py_XDECREF(instance);
    PyGILState_Release(state);
    return error;
}

static PyObject *host_function(PyObject *module, PyObject *args)
{
    PyObject *name, *called;
    const char *kinds;
    Py_ssize_t count;
    unsigned char result;
    if (!PyArg_ParseTuple(args, "Uy#bO", &name, &kinds, &count, &result, &called))
        return NULL;
    if (count > PARAMETERS_MAX)
        return PyErr_Format(PyExc_ValueError, "%U has more than %d parameters", name, PARAMETERS_MAX);
    import *bound = PyMem_Calloc(1, sizeof *bound);
    if (bound == NULL)
        return PyErr_NoMemory();
    bound->name = Py_NewRef(name);
    bound->answer = Py_NewRef(called);
    bound->count = (uint8_t)count;
    bound->result = result;
    memcpy(bound->kinds, kinds, (size_t)count);
    return Py_BuildValue("(NNO)", PyLong_FromVoidPtr((void *)callback), PyLong_FromVoidPtr(bound), called);
}

static PyObject *setup(PyObject *module, PyObject *args)
{
    unsigned long long at[8];
    if (!PyArg_ParseTuple(args, "KKKKKKKKO!O", &at[0], &at[1], &at[2], &at[3], &at[4], &at[5], &at[6], &at[7], &PyDict_Type,
                          &instances, &refusal_type))
        return NULL;
    Py_INCREF(instances);
    Py_INCREF(refusal_type);
    _Static_assert(sizeof lib == sizeof at, "one address for each function");
    memcpy(&lib, at, sizeof lib);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"begin", (PyCFunction)(void (*)(void))begin, METH_FASTCALL, "See crossing.begin."},
    {"poll", (PyCFunction)(void (*)(void))poll, METH_FASTCALL, "See crossing.poll."},
    {"host_function", host_function, METH_VARARGS, "See crossing.host_function."},
    {"setup", setup, METH_VARARGS, "Addresses of the library's functions, then INSTANCES and Refusal. Once, before the others."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_crossing", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__crossing(void)
{
    PyObject *module = PyModule_Create(&definition);
    str_call = PyUnicode_InternFromString("call");
    str_failure = PyUnicode_InternFromString("failure");
    str_name = PyUnicode_InternFromString("name");
    str_message = PyUnicode_InternFromString("message");
    if (module == NULL || PyModule_AddStringConstant(module, "SOURCE", SOURCE) < 0)
        return NULL;
    return module;
}
