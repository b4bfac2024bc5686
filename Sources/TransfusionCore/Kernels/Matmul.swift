internal import CKernels
internal import COneDNN
internal import COpenBLAS
internal import Glibc

/// Matrix products on the threads of a pool.
///
/// The result is split into blocks, and each thread of the pool computes one block by a single-threaded product; no library
/// gets to use threads of its own.
public final class Matmul {
    /// Who computes a block.
    enum Backend: CaseIterable {
        /// The project's kernels; they need AVX-512, and bf16 units for bf16.
        case kernels
        /// f32 only.
        case openBLAS
        /// bf16 only; needs bf16 units.
        case oneDNN
        /// bf16 only: OpenBLAS on operands widened to f32, which loses nothing.
        case widened
    }

    private let pool: ThreadPool
    private let engine: dnnl_engine_t?
    private var threads: [ThreadState] = []
    private(set) var busy = BusyTime()
    private let f32Backend: Backend
    private let bf16Backend: Backend
    /// Whether a few rows of bf16 are multiplied by bf16 units.
    private let fewRowsUsePairs: Bool

    /// Rows that lie together in a packed matrix.
    static let panel = Int(TF_GEMM_PANEL)

    /// Work (multiply-adds) for which another thread is worth waking.
    private static let grain = 250_000

    /// Uses what was measured to be fastest on such a CPU.
    public convenience init(pool: ThreadPool) {
        let report = CPUReport()
        // OpenBLAS may have been started with kernels for an older CPU.
        let f32: Backend = report.openBLASRemedy != nil && tf_gemm_is_available(0) != 0 ? .kernels : .openBLAS
        let bf16: Backend =
            if !report.hasBF16Units {
                .widened
            } else if report.hasTileUnits || tf_gemm_is_available(1) == 0 {
                .oneDNN
            } else {
                .kernels
            }
        self.init(pool: pool, f32: f32, bf16: bf16)
    }

    init(pool: ThreadPool, f32: Backend, bf16: Backend) {
        self.pool = pool
        f32Backend = f32
        bf16Backend = bf16
        fewRowsUsePairs = bf16 != .widened && tf_gemm_is_available(1) != 0
        openblas_set_num_threads(1)
        var engine: dnnl_engine_t?
        let status = dnnl_engine_create(&engine, dnnl_cpu, 0)
        precondition(status == dnnl_success, "oneDNN offers no CPU engine: status \(status.rawValue)")
        self.engine = engine
        threads = (0..<pool.threadCount).map { _ in ThreadState(engine: engine) }
    }

    deinit {
        threads.removeAll()
        dnnl_engine_destroy(engine)
    }

    /// `c = a · b`, or `c += a · b` with `accumulate`.
    ///
    /// - Parameters:
    ///   - a: `[m, k]`, f32 or bf16.
    ///   - b: `[k, n]`, in the type of `a`.
    ///   - c: `[m, n]`, not transposed; f32, or bf16 when `a` and `b` are and nothing is accumulated. Sums are f32.
    public func multiply(_ a: MatrixView, _ b: MatrixView, into c: MatrixView, accumulate: Bool = false) {
        let start = ContinuousClock.now
        defer { busy.add(since: start) }
        Self.validate(a, b, c, accumulate)
        let (down, across) = blocks(c.rows, c.columns, a.columns, isPacked: b.isPacked)
        guard down * across > 1 else { return multiplyOnThisThread(a, b, into: c, accumulate: accumulate) }
        pool.parallel(down * across) { range in
            for block in range {
                let rows = Self.part(block / across, of: down, in: c.rows)
                let columns = Self.part(block % across, of: across, in: c.columns, unit: b.isPacked ? Self.panel : nil)
                guard !rows.isEmpty, !columns.isEmpty else { continue }
                multiplyBlock(
                    a.slice(rows: rows), b.slice(columns: columns), c.slice(rows: rows, columns: columns), accumulate)
            }
        }
    }

    /// The same product on the calling thread alone. May be called inside a region of the pool.
    public func multiplyOnThisThread(_ a: MatrixView, _ b: MatrixView, into c: MatrixView, accumulate: Bool = false) {
        Self.validate(a, b, c, accumulate)
        multiplyBlock(a, b, c, accumulate)
    }

    /// Puts a weight that many products have as their second operand, transposed, in the order in which they read it.
    ///
    /// - Parameter weight: `[outputs, inputs]`, changed in place.
    /// - Returns: Whether that was of use. If not, the weight is as it was.
    func pack(_ weight: Tensor) -> Bool {
        guard weight.type == .bf16, bf16Backend == .kernels, weight.rows.isMultiple(of: Self.panel),
            weight.width.isMultiple(of: 2)
        else { return false }
        let values = weight.halfPointer, width = weight.width
        pool.parallel(weight.rows / Self.panel) { panels in
            let scratch = threads[pool.currentThread].scratch.take(Self.panel * width * 2)
            let packed = scratch.assumingMemoryBound(to: UInt16.self)
            for panel in panels {
                let rows = values + panel * Self.panel * width
                tf_gemm_pack(rows, width, Self.panel, width, packed)
                rows.update(from: packed, count: Self.panel * width)
            }
        }
        return true
    }

    private static func validate(_ a: MatrixView, _ b: MatrixView, _ c: MatrixView, _ accumulate: Bool) {
        precondition(
            a.columns == b.rows && a.rows == c.rows && b.columns == c.columns,
            "[\(a.rows), \(a.columns)] · [\(b.rows), \(b.columns)] does not make [\(c.rows), \(c.columns)]")
        precondition(a.type == b.type, "a product of \(a.type) and \(b.type)")
        precondition(!c.isTransposed, "a product cannot be written transposed")
        precondition(
            c.type == .f32 || (a.type == .bf16 && !accumulate),
            "a product of \(a.type) cannot be \(accumulate ? "added to" : "written as") \(c.type)")
    }

    /// Into how many blocks of rows and of columns to split a result, for one block a thread.
    ///
    /// - Parameter isPacked: Whether no thread has to put its part of the second operand in order.
    private func blocks(_ rows: Int, _ columns: Int, _ depth: Int, isPacked: Bool) -> (down: Int, across: Int) {
        let work = rows.multipliedReportingOverflow(by: max(columns, 1))
        let total =
            work.overflow ? Int.max : work.partialValue.multipliedReportingOverflow(by: max(depth, 1)).partialValue
        let parts = min(pool.threadCount, max(1, total / Self.grain))
        var best = (down: 1, across: 1)
        var leastCost = Int.max
        for down in 1...parts where parts % down == 0 {
            let across = parts / down
            // What the slowest thread computes, and then what it has to read.
            let blockRows = Self.part(0, of: down, in: rows).count,
                blockColumns = Self.part(0, of: across, in: columns, unit: isPacked ? Self.panel : nil).count
            let cost = blockRows * blockColumns * 16 + blockRows + (isPacked ? 0 : blockColumns)
            if cost < leastCost {
                leastCost = cost
                best = (down, across)
            }
        }
        return best
    }

    /// The `index`-th of `count` nearly equal parts, each but the last a multiple of `unit`, or else of what the kernels
    /// compute at once.
    private static func part(_ index: Int, of count: Int, in length: Int, unit: Int? = nil) -> Range<Int> {
        guard count > 1 else { return 0..<length }
        let unit = unit ?? (length >= 64 * count ? 64 : 16)
        let units = (length + unit - 1) / unit
        // Part 0 is the largest, so that it bounds the time of all.
        let start = (units * index + count - 1) / count * unit
        let end = (units * (index + 1) + count - 1) / count * unit
        return min(start, length)..<min(end, length)
    }

    private func multiplyBlock(_ a: MatrixView, _ b: MatrixView, _ c: MatrixView, _ accumulate: Bool) {
        guard c.rows > 0, c.columns > 0 else { return }
        guard a.columns > 0 else {
            if !accumulate { c.clear() }
            return
        }
        if b.isPacked { return multiplyByKernels(a, b, c, accumulate) }
        if a.rows <= Int(TF_FEW_ROWS), b.isTransposed, !a.isTransposed {
            return multiplyFewRows(a, b, c, accumulate)
        }
        switch a.type == .f32 ? f32Backend : bf16Backend {
        case .kernels: multiplyByKernels(a, b, c, accumulate)
        case .openBLAS: multiplyF32(a, b, c, accumulate)
        case .oneDNN: threads[pool.currentThread].multiply(a, b, c, accumulate)
        case .widened: multiplyWidened(a, b, c, accumulate)
        }
    }

    private func multiplyByKernels(_ a: MatrixView, _ b: MatrixView, _ c: MatrixView, _ accumulate: Bool) {
        var problem = tf_gemm_problem(
            a: a.address, b: b.address, c: c.address, a_stride: a.rowStride, b_stride: b.rowStride,
            c_stride: c.rowStride, rows: c.rows, columns: c.columns, depth: a.columns,
            a_transposed: a.isTransposed ? 1 : 0, b_transposed: b.isTransposed ? 1 : 0,
            is_bf16: a.type == .bf16 ? 1 : 0, writes_bf16: c.type == .bf16 ? 1 : 0, accumulate: accumulate ? 1 : 0,
            b_packed: b.isPacked ? 1 : 0)
        tf_gemm(&problem, threads[pool.currentThread].scratch.take(tf_gemm_scratch(&problem)))
    }

    /// A few rows times a weight, as in text decoding: bound by reading the weight, for which neither library is made.
    private func multiplyFewRows(_ a: MatrixView, _ b: MatrixView, _ c: MatrixView, _ accumulate: Bool) {
        var to = c
        if c.type == .bf16 {
            let memory = threads[pool.currentThread].scratch.take(c.rows * c.columns * 4)
            to = MatrixView(memory, .f32, rows: c.rows, columns: c.columns, rowStride: c.columns)
        }
        let sums = to.address.assumingMemoryBound(to: Float.self)
        if a.type == .f32 {
            tf_few_rows_f32(
                a.address.assumingMemoryBound(to: Float.self), a.rowStride, a.rows,
                b.address.assumingMemoryBound(to: Float.self), b.rowStride, b.columns, a.columns, sums, to.rowStride,
                accumulate ? 1 : 0)
        } else {
            let product = fewRowsUsePairs ? tf_few_rows_pairs : tf_few_rows_bf16
            product(
                a.address.assumingMemoryBound(to: UInt16.self), a.rowStride, a.rows,
                b.address.assumingMemoryBound(to: UInt16.self), b.rowStride, b.columns, a.columns, sums, to.rowStride,
                accumulate ? 1 : 0)
        }
        guard c.type == .bf16 else { return }
        tf_narrow_rows(
            sums, to.rowStride, c.address.assumingMemoryBound(to: UInt16.self), c.rowStride, c.rows, c.columns)
    }

    private func multiplyF32(_ a: MatrixView, _ b: MatrixView, _ c: MatrixView, _ accumulate: Bool) {
        cblas_sgemm(
            CblasRowMajor, a.isTransposed ? CblasTrans : CblasNoTrans, b.isTransposed ? CblasTrans : CblasNoTrans,
            blasint(c.rows), blasint(c.columns), blasint(a.columns), 1, a.address.assumingMemoryBound(to: Float.self),
            blasint(a.rowStride), b.address.assumingMemoryBound(to: Float.self), blasint(b.rowStride),
            accumulate ? 1 : 0, c.address.assumingMemoryBound(to: Float.self), blasint(c.rowStride))
    }

    private func multiplyWidened(_ a: MatrixView, _ b: MatrixView, _ c: MatrixView, _ accumulate: Bool) {
        let aCount = a.rows * a.columns, bCount = b.rows * b.columns
        let cCount = c.type == .bf16 ? c.rows * c.columns : 0
        let scratch = threads[pool.currentThread].scratch.take((aCount + bCount + cCount) * 4)
        let wideA = Self.widen(a, scratch)
        let wideB = Self.widen(b, scratch + aCount * 4)
        guard c.type == .bf16 else { return multiplyF32(wideA, wideB, c, accumulate) }
        let wideC = MatrixView(
            scratch + (aCount + bCount) * 4, .f32, rows: c.rows, columns: c.columns, rowStride: c.columns)
        multiplyF32(wideA, wideB, wideC, false)
        tf_narrow_rows(
            wideC.address.assumingMemoryBound(to: Float.self), wideC.rowStride,
            c.address.assumingMemoryBound(to: UInt16.self), c.rowStride, c.rows, c.columns)
    }

    private static func widen(_ matrix: MatrixView, _ memory: UnsafeMutableRawPointer) -> MatrixView {
        let inMemory = matrix.isTransposed ? matrix.transposed : matrix
        tf_widen_rows(
            matrix.address.assumingMemoryBound(to: UInt16.self), matrix.rowStride,
            memory.assumingMemoryBound(to: Float.self), inMemory.columns, inMemory.rows, inMemory.columns)
        return MatrixView(
            memory, .f32, rows: matrix.rows, columns: matrix.columns, rowStride: inMemory.columns,
            isTransposed: matrix.isTransposed)
    }
}

extension Matmul {
    /// What one thread of the pool keeps between products.
    fileprivate final class ThreadState {
        private let engine: dnnl_engine_t?
        private var stream: dnnl_stream_t?
        private var primitives: [MatmulPrimitive.Key: MatmulPrimitive] = [:]
        let scratch = ScratchMemory()
        private var isPrepared = false

        /// A program with ever new shapes shall not fill the memory with code for old ones.
        private static let mostPrimitives = 1024

        init(engine: dnnl_engine_t?) {
            self.engine = engine
            let status = dnnl_stream_create(&stream, engine, UInt32(dnnl_stream_default_flags.rawValue))
            precondition(status == dnnl_success, "oneDNN offers no CPU stream: status \(status.rawValue)")
        }

        deinit {
            primitives.removeAll()
            dnnl_stream_destroy(stream)
        }

        func multiply(_ a: MatrixView, _ b: MatrixView, _ c: MatrixView, _ accumulate: Bool) {
            if !isPrepared {
                OpenMP.useOneThread()
                isPrepared = true
            }
            let key = MatmulPrimitive.Key(a, b, c, accumulate: accumulate)
            let primitive = primitives[key] ?? add(key)
            primitive.run(
                a.address, b.address, c.address, scratch: scratch.take(primitive.scratchByteCount), stream: stream)
        }

        private func add(_ key: MatmulPrimitive.Key) -> MatmulPrimitive {
            if primitives.count >= Self.mostPrimitives { primitives.removeAll() }
            let primitive = MatmulPrimitive(key, engine: engine)
            primitives[key] = primitive
            return primitive
        }
    }
}

/// The OpenMP run time inside Debian's oneDNN. It would start a second set of threads beside ours.
enum OpenMP {
    private typealias SetThreadCount = @convention(c) (Int32) -> Void

    /// Makes parallel regions that the calling thread opens run on it alone. The setting belongs to the calling thread.
    static func useOneThread() {
        // Found at run time: oneDNN builds without OpenMP exist, and then there is nothing to set.
        guard let symbol = dlsym(nil, "omp_set_num_threads") else { return }
        unsafeBitCast(symbol, to: SetThreadCount.self)(1)
    }
}
