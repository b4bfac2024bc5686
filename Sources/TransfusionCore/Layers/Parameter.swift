internal import CKernels

/// A named weight of the model: its global shape, this rank's part of it, and the gradient of that part.
///
/// In f32 the value is the master weight. In bf16 the value is the upper half of the f32 master weight, and the optimizer
/// keeps the lower half beside it, so that the copy the model computes with costs no memory of its own.
public final class Parameter {
    public enum Initialization: Sendable, Equatable {
        case normal(standardDeviation: Float)
        case ones
        case zeros
    }

    public let name: String
    public let globalShape: [Int]
    public let shard: ShardSpec
    public let initialization: Initialization
    /// Whether the value stays as it is in training: there is no gradient, and the optimizer keeps no moments.
    public let isFrozen: Bool
    /// What the learning rate of the schedule is multiplied by.
    public let learningRateFactor: Double
    /// The shape of this rank's part.
    public let shape: [Int]

    /// This rank's part, in the type that the model computes with. Vectors are always f32. Nil once it was rounded and released.
    public internal(set) var value: Tensor!
    /// Whether the value is in the order that products read, and of use for nothing else.
    var isPacked = false
    /// The weights of the adjacent group that begins with this parameter, rounded; nil where they are not.
    var quantized: QuantizedWeights?
    /// The gradient of this rank's part, f32; nil when the model or the parameter is not trained.
    public internal(set) var gradient: Tensor?
    /// Where the parameter begins in its store's flat order.
    public internal(set) var offset = 0
    /// The lower halves of the master weights of `ownedRange`; nil in f32 and when the model is not trained.
    public internal(set) var lowerHalves: UnsafeMutablePointer<Int16>?
    /// Which elements of this rank's part this rank's optimizer updates, or keeps the master weights of.
    public internal(set) var ownedRange: Range<Int> = 0..<0

    init(
        _ name: String, globalShape: [Int], shard: ShardSpec, initialization: Initialization,
        rules: ParameterRules = ParameterRules()
    ) {
        self.name = name
        self.globalShape = globalShape
        self.shard = shard
        self.initialization = initialization
        isFrozen = rules.isFrozen(name)
        learningRateFactor = rules.learningRateFactor(name)
        shape = shard.box(in: globalShape).sizes
    }

    /// The number of elements of this rank's part.
    public var count: Int { shape.reduce(1, *) }
    public var globalCount: Int { globalShape.reduce(1, *) }
    /// Matrices decay and compute in the model's type; vectors (norms, biases) do not decay and stay f32.
    public var isMatrix: Bool { globalShape.count >= 2 }

    /// Sets elements `start...` of this rank's part to f32 master values.
    public func writeMaster(_ master: UnsafeBufferPointer<Float>, at start: Int) {
        precondition(!isPacked, "\(name) was packed")
        guard let source = master.baseAddress, master.count > 0 else { return }
        if value.type == .f32 {
            (value.f32.baseAddress! + start).update(from: source, count: master.count)
            return
        }
        let upper = UnsafeMutableRawPointer(value.bf16.baseAddress! + start).assumingMemoryBound(to: UInt16.self)
        tf_split_master(source, upper, nil, master.count)
        // The lower halves exist for the owned elements only.
        let owned = ownedRange.clamped(to: start..<start + master.count)
        if let lowerHalves, !owned.isEmpty {
            tf_split_master(
                source + (owned.lowerBound - start), upper + (owned.lowerBound - start),
                lowerHalves + (owned.lowerBound - ownedRange.lowerBound), owned.count)
        }
    }

    /// Reads f32 master values of elements `start...` of this rank's part. In bf16 they are exact inside `ownedRange`
    /// and rounded elsewhere.
    public func readMaster(_ master: UnsafeMutableBufferPointer<Float>, at start: Int) {
        precondition(!isPacked, "\(name) was packed")
        guard let target = master.baseAddress, master.count > 0 else { return }
        if value.type == .f32 {
            target.update(from: value.f32.baseAddress! + start, count: master.count)
            return
        }
        let upper = UnsafeMutableRawPointer(value.bf16.baseAddress! + start).assumingMemoryBound(to: UInt16.self)
        tf_join_master(upper, nil, target, master.count)
        let owned = ownedRange.clamped(to: start..<start + master.count)
        if let lowerHalves, !owned.isEmpty {
            tf_join_master(
                upper + (owned.lowerBound - start), lowerHalves + (owned.lowerBound - ownedRange.lowerBound),
                target + (owned.lowerBound - start), owned.count)
        }
    }

    /// Sets this rank's part to the initial values of the run's seed. They depend on the name and on the global place of
    /// each element only, so every layout starts from the same model.
    public func initialize(seed: UInt64) {
        let philox = Philox(seed: seed, purpose: .weights, index: Int(truncatingIfNeeded: Self.hash(name)))
        let box = shard.box(in: globalShape)
        // A run of elements that lie next to each other in the global tensor: the axes from the split one on.
        let splitAxis = shard.axis ?? 0
        let run = box.sizes[splitAxis...].reduce(1, *)
        let globalRun = globalShape[splitAxis...].reduce(1, *)
        let runOffset =
            (box.offsets.isEmpty ? 0 : box.offsets[splitAxis]) * globalShape[(splitAxis + 1)...].reduce(1, *)
        var scratch = [Float](repeating: initialization == .ones ? 1 : 0, count: min(run, 1 << 16))
        for row in 0..<(run == 0 ? 0 : count / run) {
            for start in stride(from: 0, to: run, by: scratch.count) {
                let length = min(scratch.count, run - start)
                scratch.withUnsafeMutableBufferPointer { buffer in
                    let part = UnsafeMutableBufferPointer(rebasing: buffer[..<length])
                    if case .normal(let standardDeviation) = initialization {
                        philox.fillNormal(
                            part, offset: row * globalRun + runOffset + start, standardDeviation: standardDeviation)
                    }
                    writeMaster(UnsafeBufferPointer(part), at: row * run + start)
                }
            }
        }
    }

    /// FNV-1a of the name: the parameter's address in the random numbers.
    private static func hash(_ name: String) -> UInt32 {
        name.utf8.reduce(2_166_136_261) { ($0 ^ UInt32($1)) &* 16_777_619 }
    }
}
