internal import COneDNN

/// One oneDNN product of fixed shape, strides and types, with the memory objects that one thread needs to run it.
///
/// It computes on the thread that runs it (see `Matmul.ThreadState`), and belongs to that thread.
final class MatmulPrimitive {
    /// What the generated code depends on.
    struct Key: Hashable {
        let rows, columns, depth: Int
        let aStride, bStride, cStride: Int
        let aTransposed, bTransposed: Bool
        let inputType, outputType: ElementType
        let accumulate: Bool

        init(_ a: MatrixView, _ b: MatrixView, _ c: MatrixView, accumulate: Bool) {
            rows = c.rows
            columns = c.columns
            depth = a.columns
            aStride = a.rowStride
            bStride = b.rowStride
            cStride = c.rowStride
            aTransposed = a.isTransposed
            bTransposed = b.isTransposed
            inputType = a.type
            outputType = c.type
            self.accumulate = accumulate
        }
    }

    /// Bytes of scratch memory that `run` needs, 64-byte aligned.
    let scratchByteCount: Int
    private var primitive: dnnl_primitive_t?
    private var a: dnnl_memory_t?
    private var b: dnnl_memory_t?
    private var c: dnnl_memory_t?
    private var scratch: dnnl_memory_t?

    init(_ key: Key, engine: dnnl_engine_t?) {
        func check(_ status: dnnl_status_t, _ call: String) {
            precondition(status == dnnl_success, "oneDNN \(call) answered \(status.rawValue) for \(key)")
        }
        var aLayout = Self.layout(key.rows, key.depth, key.aStride, key.aTransposed, key.inputType, check)
        var bLayout = Self.layout(key.depth, key.columns, key.bStride, key.bTransposed, key.inputType, check)
        var cLayout = Self.layout(key.rows, key.columns, key.cStride, false, key.outputType, check)

        var operation = dnnl_matmul_desc_t()
        check(dnnl_matmul_desc_init(&operation, &aLayout, &bLayout, nil, &cLayout), "matmul_desc_init")
        var attributes: dnnl_primitive_attr_t?
        check(dnnl_primitive_attr_create(&attributes), "primitive_attr_create")
        defer { dnnl_primitive_attr_destroy(attributes) }
        // The scratch memory is ours: the library would allocate it at each run or share it between threads.
        check(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user), "set_scratchpad_mode")
        if key.accumulate {
            var postOperations: dnnl_post_ops_t?
            check(dnnl_post_ops_create(&postOperations), "post_ops_create")
            defer { dnnl_post_ops_destroy(postOperations) }
            check(dnnl_post_ops_append_sum(postOperations, 1), "post_ops_append_sum")
            check(dnnl_primitive_attr_set_post_ops(attributes, postOperations), "set_post_ops")
        }
        var description: dnnl_primitive_desc_t?
        check(dnnl_primitive_desc_create(&description, &operation, attributes, engine, nil), "primitive_desc_create")
        defer { dnnl_primitive_desc_destroy(description) }
        check(dnnl_primitive_create(&primitive, description), "primitive_create")

        let scratchLayout = dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0)
        scratchByteCount = scratchLayout.map { dnnl_memory_desc_get_size($0) } ?? 0
        check(dnnl_memory_create(&a, &aLayout, engine, nil), "memory_create")
        check(dnnl_memory_create(&b, &bLayout, engine, nil), "memory_create")
        check(dnnl_memory_create(&c, &cLayout, engine, nil), "memory_create")
        check(dnnl_memory_create(&scratch, scratchLayout, engine, nil), "memory_create")
    }

    deinit {
        for memory in [a, b, c, scratch] { dnnl_memory_destroy(memory) }
        dnnl_primitive_destroy(primitive)
    }

    func run(
        _ aAddress: UnsafeMutableRawPointer, _ bAddress: UnsafeMutableRawPointer, _ cAddress: UnsafeMutableRawPointer,
        scratch scratchAddress: UnsafeMutableRawPointer?, stream: dnnl_stream_t?
    ) {
        var status = dnnl_memory_set_data_handle(a, aAddress)
        if status == dnnl_success { status = dnnl_memory_set_data_handle(b, bAddress) }
        if status == dnnl_success { status = dnnl_memory_set_data_handle(c, cAddress) }
        if status == dnnl_success { status = dnnl_memory_set_data_handle(scratch, scratchAddress) }
        if status == dnnl_success {
            status = withUnsafeTemporaryAllocation(of: dnnl_exec_arg_t.self, capacity: 4) { arguments in
                arguments[0] = dnnl_exec_arg_t(arg: DNNL_ARG_SRC, memory: a)
                arguments[1] = dnnl_exec_arg_t(arg: DNNL_ARG_WEIGHTS, memory: b)
                arguments[2] = dnnl_exec_arg_t(arg: DNNL_ARG_DST, memory: c)
                arguments[3] = dnnl_exec_arg_t(arg: DNNL_ARG_SCRATCHPAD, memory: scratch)
                return dnnl_primitive_execute(primitive, stream, 4, arguments.baseAddress)
            }
        }
        precondition(status == dnnl_success, "oneDNN could not run a product: status \(status.rawValue)")
    }

    private static func layout(
        _ rows: Int, _ columns: Int, _ stride: Int, _ transposed: Bool, _ type: ElementType,
        _ check: (dnnl_status_t, String) -> Void
    ) -> dnnl_memory_desc_t {
        var layout = dnnl_memory_desc_t()
        let sizes = [dnnl_dim_t(rows), dnnl_dim_t(columns)]
        let strides = transposed ? [1, dnnl_dim_t(stride)] : [dnnl_dim_t(stride), 1]
        check(
            dnnl_memory_desc_init_by_strides(&layout, 2, sizes, type == .bf16 ? dnnl_bf16 : dnnl_f32, strides),
            "memory_desc_init_by_strides")
        return layout
    }
}
