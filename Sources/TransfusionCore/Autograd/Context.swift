internal import CKernels

/// What forward code computes with: threads, memory, products, the tensor-parallel group, and the tape.
///
/// There is no global tape: the context is passed. A context, like its tensors, belongs to one thread.
///
/// With sizes only (`isSizesOnly`) the same forward and backward code runs without computing: what it needs of memory and
/// operations is then in `allocator` and `work`, and there is no second description of any operation.
public final class Context {
    public let pool: ThreadPool
    public let allocator: CachingAllocator
    /// The type of activations and of the matrices they meet: `.f32` or `.bf16`. The residual stream is always f32.
    public let type: ElementType
    public let tensorParallel: any Collectives
    /// Whether tensor-parallel ranks share out the rows of the residual stream (sequence parallelism).
    let sharesRows: Bool
    /// Where each rank's rows begin, and the end, in the pass under way; nil when each rank has all rows.
    var rowOffsets: [Int]?
    private(set) lazy var matmul = Matmul(pool: pool)
    private(set) lazy var attentionKernel = SpanAttentionKernel(pool: pool)
    private(set) lazy var convolutionKernel = ConvolutionKernel(pool: pool, matmul: matmul)

    /// Whether tensors have sizes and no contents, and nothing is computed.
    public var isSizesOnly: Bool { allocator.isSizesOnly }
    /// What all passes so far have computed.
    public private(set) var work = FloatingPointWork()

    /// Called when the gradient of a parameter has got all of its contributions of this backward pass.
    public var parameterIsReady: ((Parameter) -> Void)? {
        get { awaitsContributions ? nil : whenReady }
        set { whenReady = newValue }
    }
    private var whenReady: ((Parameter) -> Void)?
    /// Whether the backward pass is where parameters get contributions that are not their last.
    private var awaitsContributions = false

    /// Whether `recomputable` tensors are made again in the backward pass instead of kept.
    package var recomputesCheapTensors = false

    private var tape: [(Gradients) throws -> Void] = []
    private(set) var isRecording = false
    /// Whether sums that two tensor-parallel ranks would share out are made of the same two halves here.
    private(set) var sumsInHalves = false
    /// Whether what was computed and forgotten is being made again.
    private var isRemaking = false

    public init(
        pool: ThreadPool, type: ElementType, allocator: CachingAllocator = CachingAllocator(),
        tensorParallel: any Collectives = SingleRank(), sequenceParallel: Bool = false
    ) {
        self.pool = pool
        self.type = type
        self.allocator = allocator
        self.tensorParallel = tensorParallel
        sharesRows = sequenceParallel
    }

    /// Runs kernels on this thread; with sizes only, none.
    package func compute(_ kernels: () -> Void) {
        if !isSizesOnly { kernels() }
    }

    /// `ThreadPool.parallel`; with sizes only, nothing.
    func parallel(_ count: Int, grain: Int = 1, _ body: (Range<Int>) -> Void) {
        if !isSizesOnly { pool.parallel(count, grain: grain, body) }
    }

    /// `ThreadPool.tasks`; with sizes only, nothing.
    func tasks(_ count: Int, _ body: (_ task: Int) -> Void) {
        if !isSizesOnly { pool.tasks(count) { task, _ in body(task) } }
    }

    /// `Matmul.multiply`; with sizes only, nothing.
    func multiply(_ a: MatrixView, _ b: MatrixView, into c: MatrixView, accumulate: Bool = false) {
        if !isSizesOnly { matmul.multiply(a, b, into: c, accumulate: accumulate) }
    }

    /// Takes note of matrix products.
    /// - Parameter operations: Of all tensor-parallel ranks together, a multiply-add as two.
    func count(_ operations: Double) {
        if isRemaking { work.recomputed += operations } else { work.operations += operations }
    }

    /// A tensor of the computing type, or another, with undefined contents.
    package func empty(_ shape: [Int], _ type: ElementType? = nil) -> Tensor {
        Tensor(shape, type ?? self.type, allocator: allocator)
    }

    /// Runs forward code and keeps what its backward pass needs.
    public func record<Result>(_ forward: () throws -> Result) rethrows -> Result {
        precondition(tape.isEmpty && !isRecording, "a recording is already under way")
        isRecording = true
        defer { isRecording = false }
        return try forward()
    }

    /// Runs forward code whose parameters are used in the same recording before it as well: what its backward pass adds to
    /// their gradients does not complete them.
    package func usingAgain<Result>(_ forward: () throws -> Result) rethrows -> Result {
        recordRoot { [self] _ in awaitsContributions = false }
        let result = try forward()
        recordRoot { [self] _ in awaitsContributions = true }
        return result
    }

    /// Runs the recorded operations backwards and forgets them. Gradients of parameters are added to
    /// `Parameter.gradient`; those of other leaves are in the result.
    ///
    /// - Parameter seeds: The gradients to start from. A loss brings its own.
    @discardableResult
    public func backward(seeds: [(tensor: Tensor, gradient: Tensor)] = []) throws -> Gradients {
        let gradients = Gradients(context: self)
        for seed in seeds { gradients.add(seed.gradient, to: seed.tensor) }
        try unwind(to: 0, gradients)
        return gradients
    }

    private func unwind(to length: Int, _ gradients: Gradients) throws {
        // An activation is freed as soon as the operation that needed it has run.
        while tape.count > length {
            let operation = tape.removeLast()
            try operation(gradients)
        }
    }

    /// Puts an operation on the tape. `backward` gets the gradient of `result` and adds to those of what it read.
    func record(_ result: Tensor, _ backward: @escaping (_ dy: Tensor, Gradients) throws -> Void) -> Tensor {
        if isRecording {
            tape.append { gradients in
                guard let dy = gradients.take(result) else { return }
                try backward(dy, gradients)
            }
        }
        return result
    }

    /// Puts the end of a tape on it: an operation whose backward pass needs no gradient from outside.
    func recordRoot(_ backward: @escaping (Gradients) throws -> Void) {
        if isRecording { tape.append(backward) }
    }

    /// Runs forward code that needs no backward pass, because no parameter of it and of what comes before it is trained.
    package func withoutRecording<Result>(_ forward: () throws -> Result) rethrows -> Result {
        let wasRecording = isRecording
        isRecording = false
        defer { isRecording = wasRecording }
        return try forward()
    }

    /// Runs forward code that nothing is trained on so that a process alone gets the bits that two tensor-parallel ranks get,
    /// where two can share the model out evenly.
    package func summingInHalves<Result>(_ forward: () throws -> Result) rethrows -> Result {
        precondition(!isRecording, "sums are made in halves where nothing is trained")
        sumsInHalves = tensorParallel.size == 1
        defer { sumsInHalves = false }
        return try forward()
    }

    /// Runs `body` without keeping its activations, and again, with keeping, when the backward pass gets to it.
    ///
    /// The values are the same either way: the second run sees the same input and addresses the same random numbers.
    /// - Parameter body: Forward code with one tensor in and one out; it may read any parameter.
    /// ### References
    /// Chen, Xu, Zhang and Guestrin 2016, "Training deep nets with sublinear memory cost".
    public func checkpointed(_ x: Tensor, _ body: @escaping (Tensor) throws -> Tensor) rethrows -> Tensor {
        try checkpointed([x]) { try body($0[0]) }
    }

    /// The same for forward code with several tensors in: all that it reads beside parameters and constants, each once.
    package func checkpointed(
        _ inputs: [Tensor], _ body: @escaping ([Tensor]) throws -> Tensor
    ) rethrows -> Tensor {
        guard isRecording else { return try body(inputs) }
        isRecording = false
        defer { isRecording = true }
        let y = try body(inputs)
        tape.append { [self] gradients in
            guard let dy = gradients.take(y) else { return }
            // Second nodes on the same memory, so that the inner gradients do not mix with the outer ones.
            let copies = inputs.map { $0.reshaped($0.shape) }
            let length = tape.count
            isRecording = true
            defer { isRecording = false }
            let again = try remaking { try body(copies) }
            let inner = Gradients(context: self)
            inner.add(dy, to: again)
            isRecording = false
            try unwind(to: length, inner)
            for (input, copy) in zip(inputs, copies) {
                if let gradient = inner.take(copy) { gradients.add(gradient, to: input) }
            }
        }
        return y
    }

    /// What `use` makes of a tensor that takes little work beside its memory. When the context says so, the tensor is
    /// forgotten after `use`, and made again when the backward pass gets to it, with the same bits.
    ///
    /// - Parameter make: Makes the tensor, of its own memory, from tensors that do not change.
    /// ### References
    /// Korthikanti et al. 2022, "Reducing activation recomputation in large transformer models", section 5.
    package func recomputable(_ make: @escaping () -> Tensor, _ use: (Tensor) throws -> Tensor) rethrows -> Tensor {
        let x = make()
        let y = try use(x)
        guard isRecording && recomputesCheapTensors else { return y }
        x.forget()
        // On the tape after what used it: so it is there again before that needs it.
        tape.append { [self] _ in x.restore(from: remaking(make)) }
        return y
    }

    private func remaking<Result>(_ make: () throws -> Result) rethrows -> Result {
        isRemaking = true
        defer { isRemaking = false }
        return try make()
    }

    /// `sum += x`, in the type of both.
    func accumulate(_ x: Tensor, into sum: Tensor) {
        precondition(x.type == sum.type && x.count == sum.count)
        parallel(x.count, grain: Self.grain) { range in
            switch x.type {
            case .f32:
                tf_accumulate_f32(x.floatPointer + range.lowerBound, sum.floatPointer + range.lowerBound, range.count)
            default:
                tf_accumulate_bf16(x.halfPointer + range.lowerBound, sum.halfPointer + range.lowerBound, range.count)
            }
        }
    }

    /// `x` as a tensor of `type`: itself, or a converted copy.
    package func converted(_ x: Tensor, to type: ElementType) -> Tensor {
        guard x.type != type else { return x }
        let y = empty(x.shape, type)
        parallel(x.count, grain: Self.grain) { range in
            let start = range.lowerBound
            if type == .bf16 {
                tf_convert_f32_to_bf16(x.floatPointer + start, y.halfPointer + start, range.count)
            } else {
                tf_convert_bf16_to_f32(x.halfPointer + start, y.floatPointer + start, range.count)
            }
        }
        return y
    }

    /// Elements of an element-wise pass below which a second thread costs more than it brings.
    static let grain = 1 << 14

    /// Rows of `width` below which a second thread costs more than it brings.
    static func rowGrain(_ width: Int) -> Int { max(1, grain / max(width, 1)) }
}

// Pointers for the C kernels, which know floats and the bits of a bf16.
extension Tensor {
    package var floatPointer: UnsafeMutablePointer<Float> { f32.baseAddress! }
    var halfPointer: UnsafeMutablePointer<UInt16> {
        precondition(type == .bf16, "a tensor of \(type) was used as bf16")
        return bytes.baseAddress!.assumingMemoryBound(to: UInt16.self)
    }
    var integerPointer: UnsafeMutablePointer<Int32> { i32.baseAddress! }
}
