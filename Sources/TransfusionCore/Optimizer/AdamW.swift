internal import CKernels
internal import Glibc

/// Adam with decoupled weight decay over ranges of a model's flat parameter order.
///
/// Matrices decay, vectors do not. In bf16 the optimizer keeps the lower halves of the f32 master weights; the upper
/// halves are the weights that the model computes with. Of what is frozen it keeps these lower halves too, and nothing else.
///
/// ### References
/// Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2, in the order of PyTorch's AdamW.
public final class AdamW {
    public struct Settings: Sendable, Equatable {
        public var beta1: Float = 0.9
        public var beta2: Float = 0.95
        public var epsilon: Float = 1e-8
        public var weightDecay: Float = 0.1
        /// How much of the running average of the weights stays in a step; nil keeps none.
        public var averageDecay: Float?

        public init(
            beta1: Float = 0.9, beta2: Float = 0.95, epsilon: Float = 1e-8, weightDecay: Float = 0.1,
            averageDecay: Float? = nil
        ) {
            self.beta1 = beta1
            self.beta2 = beta2
            self.epsilon = epsilon
            self.weightDecay = weightDecay
            self.averageDecay = averageDecay
        }
    }

    /// Which of a parameter's numbers the optimizer keeps.
    public enum State: String, Sendable, CaseIterable {
        case firstMoment = "exp_avg"
        case secondMoment = "exp_avg_sq"
        /// The running average of the weights, where the settings want one.
        case average
    }

    public let store: ParameterStore
    /// The runs of the flat order that this optimizer updates, ascending.
    public let ownedRanges: [Range<Int>]
    /// The run of what is frozen whose master weights are kept here.
    private let keptRange: Range<Int>
    /// The runs that are updated alike, for each owned range.
    private let parts: [[Part]]
    private let settings: Settings
    private let pool: ThreadPool
    private let firstMoment: Tensor
    private let secondMoment: Tensor
    private let lowerHalves: Tensor?
    private let average: Tensor?

    /// Elements that one task updates: enough to be worth a task, few enough to stay in cache.
    private static let chunk = 1 << 16

    /// A run of matrices or of vectors with one learning rate.
    private struct Part {
        var range: Range<Int>
        let isMatrix: Bool
        let learningRateFactor: Double
    }

    /// An optimizer with zero moments.
    ///
    /// - Parameters:
    ///   - ownedRanges: The runs to update; everything unless given. A parameter may lie in one of them only.
    ///   - keptRange: The run of what is frozen to keep the master weights of; all of it unless given.
    public init(
        _ store: ParameterStore, ownedRanges: [Range<Int>]? = nil, keptRange: Range<Int>? = nil, settings: Settings,
        pool: ThreadPool, allocator: CachingAllocator
    ) {
        let ranges = ownedRanges ?? [0..<store.count]
        self.store = store
        self.ownedRanges = ranges
        self.keptRange = keptRange ?? store.frozenRange
        parts = ranges.map { Self.parts(of: $0, store) }
        self.settings = settings
        self.pool = pool
        let count = ranges.reduce(0) { $0 + $1.count }
        firstMoment = Tensor([count], .f32, allocator: allocator)
        secondMoment = Tensor([count], .f32, allocator: allocator)
        firstMoment.fill(0)
        secondMoment.fill(0)
        lowerHalves =
            store.type == .bf16 ? Tensor([count + self.keptRange.count], .bf16, allocator: allocator) : nil
        lowerHalves?.fill(0)
        average = settings.averageDecay == nil ? nil : Tensor([count], .f32, allocator: allocator)
        average?.fill(0)
        attach()
    }

    /// Cuts a run where parameters with another learning rate, or vectors, begin. Gaps belong to what is before them.
    private static func parts(of range: Range<Int>, _ store: ParameterStore) -> [Part] {
        var parts: [Part] = []
        let trained = store.trained
        for (index, parameter) in zip(trained.indices, trained) {
            let end = index + 1 < trained.endIndex ? trained[index + 1].offset : store.count
            let common = range.clamped(to: (index == 0 ? 0 : parameter.offset)..<end)
            if common.isEmpty { continue }
            if let last = parts.last, last.isMatrix == parameter.isMatrix,
                last.learningRateFactor == parameter.learningRateFactor
            {
                parts[parts.count - 1].range = last.range.lowerBound..<common.upperBound
            } else {
                parts.append(
                    Part(
                        range: common, isMatrix: parameter.isMatrix,
                        learningRateFactor: parameter.learningRateFactor))
            }
        }
        return parts
    }

    /// Tells each parameter which of its elements are updated or kept here.
    private func attach() {
        var start = 0
        for range in ownedRanges + [keptRange] {
            for parameter in store.parameters {
                let common = range.clamped(to: parameter.offset..<parameter.offset + parameter.count)
                guard !common.isEmpty else { continue }
                parameter.ownedRange = common.lowerBound - parameter.offset..<common.upperBound - parameter.offset
                if parameter.value.type == .bf16, let lowerHalves {
                    parameter.lowerHalves =
                        UnsafeMutableRawPointer(lowerHalves.halfPointer)
                        .assumingMemoryBound(to: Int16.self) + (start + common.lowerBound - range.lowerBound)
                }
            }
            start += range.count
        }
    }

    /// Bytes of optimizer state on this rank.
    public var byteCount: Int {
        firstMoment.byteCount + secondMoment.byteCount + (lowerHalves?.byteCount ?? 0) + (average?.byteCount ?? 0)
    }

    /// What is kept of each parameter.
    public var states: [State] { State.allCases.filter { $0 != .average || average != nil } }

    /// The state of the owned elements of `parameter`, or nil when none are owned or the parameter is frozen.
    public func state(_ state: State, of parameter: Parameter) -> UnsafeMutableBufferPointer<Float>? {
        let memory: [State: Tensor?] = [.firstMoment: firstMoment, .secondMoment: secondMoment, .average: average]
        guard let moments = memory[state] ?? nil else { return nil }
        var start = 0
        for range in ownedRanges {
            let common = range.clamped(to: parameter.offset..<parameter.offset + parameter.count)
            if !common.isEmpty {
                let first = start + common.lowerBound - range.lowerBound
                return UnsafeMutableBufferPointer(rebasing: moments.f32[first..<first + common.count])
            }
            start += range.count
        }
        return nil
    }

    /// The sum of the squares of the gradients in each of `chunks` that is owned; 0 for the others. A chunk is owned as a
    /// whole or not at all, and they ascend.
    public func squaredNorms(of chunks: [Range<Int>]) -> [Double] {
        var sums = [Double](repeating: 0, count: chunks.count)
        guard let gradients = store.gradients else { return sums }
        var rangesAhead = ownedRanges[...]
        let owned = chunks.indices.filter { chunk in
            let start = chunks[chunk].lowerBound
            while let range = rangesAhead.first, range.upperBound <= start { rangesAhead.removeFirst() }
            return rangesAhead.first?.contains(start) ?? false
        }
        sums.withUnsafeMutableBufferPointer { sums in
            let sums = sums.baseAddress
            pool.parallel(owned.count) { part in
                for chunk in owned[part] {
                    sums?[chunk] = tf_sum_of_squares(
                        gradients.floatPointer + chunks[chunk].lowerBound, chunks[chunk].count)
                }
            }
        }
        return sums
    }

    /// One step for all owned elements, in one pass: clip, decay, moments, weight, and the gradient set to zero.
    ///
    /// - Parameters:
    ///   - step: The number of the step, from 0.
    ///   - gradientFactor: What gradients are multiplied by first (clipping).
    ///   - finished: Called after each owned range, with its number.
    public func update(
        step: Int, learningRate: Double, gradientFactor: Double, finished: (_ range: Int) -> Void = { _ in }
    ) {
        var constants = tf_adamw_step()
        constants.beta1 = settings.beta1
        constants.beta2 = settings.beta2
        constants.epsilon = settings.epsilon
        constants.correction1 = Float(1 - pow(Double(settings.beta1), Double(step + 1)))
        constants.correction2 = Float(1 - pow(Double(settings.beta2), Double(step + 1)))
        constants.gradient_factor = Float(gradientFactor)
        var start = 0
        for (number, range) in ownedRanges.enumerated() {
            for part in parts[number] {
                constants.learning_rate = Float(learningRate * part.learningRateFactor)
                constants.weight_decay = part.isMatrix ? settings.weightDecay : 0
                update(part, stateStart: start + part.range.lowerBound - range.lowerBound, constants)
            }
            start += range.count
            finished(number)
        }
        updateAverage(step: step)
    }

    /// `average += (1 − decay) · (weight − average)`, after the first step with all of the weight. Young averages forget faster,
    /// as they begin with weights that were drawn: with a decay of at most (1 + step) / (10 + step).
    private func updateAverage(step: Int) {
        guard let decay = settings.averageDecay else { return }
        let kept = step == 0 ? 0 : min(decay, Float(1 + step) / Float(10 + step))
        for parameter in store.parameters where !parameter.ownedRange.isEmpty {
            guard let averages = state(.average, of: parameter), let target = averages.baseAddress else { continue }
            let first = parameter.ownedRange.lowerBound
            pool.parallel(averages.count, grain: Self.chunk) { part in
                withUnsafeTemporaryAllocation(of: Float.self, capacity: part.count) { weights in
                    parameter.readMaster(weights, at: first + part.lowerBound)
                    for index in 0..<part.count {
                        let place = target + part.lowerBound + index
                        place.pointee += (1 - kept) * (weights[index] - place.pointee)
                    }
                }
            }
        }
    }

    /// Gives elements of a parameter values that no gradient made: without moments, and with an average that is the same.
    ///
    /// - Parameters:
    ///   - start: The first of them, in this rank's part.
    ///   - values: Alike on all ranks that hold this part.
    package func overwrite(_ parameter: Parameter, at start: Int, with values: [Float]) {
        values.withUnsafeBufferPointer { parameter.writeMaster($0, at: start) }
        let owned = parameter.ownedRange.clamped(to: start..<start + values.count)
        guard !owned.isEmpty else { return }
        for kind in states {
            guard let numbers = state(kind, of: parameter) else { continue }
            for index in owned {
                numbers[index - parameter.ownedRange.lowerBound] = kind == .average ? values[index - start] : 0
            }
        }
    }

    private func update(_ run: Part, stateStart: Int, _ constants: tf_adamw_step) {
        guard let gradients = store.gradients else { return }
        let range = run.range, isMatrix = run.isMatrix
        pool.parallel(range.count, grain: Self.chunk) { part in
            var constants = constants
            let first = range.lowerBound + part.lowerBound, state = stateStart + part.lowerBound
            let gradient = gradients.floatPointer + first
            let moment1 = firstMoment.floatPointer + state, moment2 = secondMoment.floatPointer + state
            if isMatrix, let lowerHalves {
                let lower = UnsafeMutableRawPointer(lowerHalves.halfPointer + state).assumingMemoryBound(to: Int16.self)
                tf_adamw_split(
                    &constants, store.matrices.halfPointer + first, lower, gradient, moment1, moment2, part.count)
            } else {
                let values =
                    isMatrix
                    ? store.matrices.floatPointer + first : store.vectors.floatPointer + (first - store.vectorStart)
                tf_adamw_f32(&constants, values, gradient, moment1, moment2, part.count)
            }
        }
    }
}
