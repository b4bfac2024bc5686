public import TransfusionCore

/// How fast one machine does the parts of a training step, as `tf-bench rates --json` measured it: what `tf-coord plan`
/// works with.
public struct MachineRates: Sendable, Equatable, Codable {
    /// What the machine computes with, in words.
    public var processor: String
    /// Threads that were measured together.
    public var threads: Int
    /// The type that matrices compute in, f32 or bf16.
    public var type: ElementType
    /// Floating-point operations a second of large matrix products, on all threads.
    public var matrixRate: Double
    /// Forward and backward pass: seconds for each floating-point operation of a very wide model …
    public var secondsPerOperation: Double
    /// … and what passes over memory add to it, for each operation and times 1 / width.
    public var secondsPerOperationAndInverseWidth: Double
    /// Parameters a second that the optimizer updates.
    public var updatesPerSecond: Double
    /// Bytes a second of a vector that two ranks of the machine sum in shared memory.
    public var sharedSumBytesPerSecond: Double
    /// Bytes a second that reach the disk for good.
    public var diskBytesPerSecond: Double
    /// Memory of a program that trains, apart from what it trains.
    public var programBytes: Int
    /// A measured step that did not enter the numbers above, and what they say of it.
    public var check: Check

    public struct Check: Sendable, Equatable, Codable {
        public var model: String
        public var seconds: Double
        public var plannedSeconds: Double
        public var activationBytes: Int
        public var plannedActivationBytes: Int

        public var secondsError: Double { plannedSeconds / seconds - 1 }
        public var activationError: Double { Double(plannedActivationBytes) / Double(activationBytes) - 1 }

        public init(
            model: String, seconds: Double, plannedSeconds: Double, activationBytes: Int, plannedActivationBytes: Int
        ) {
            self.model = model
            self.seconds = seconds
            self.plannedSeconds = plannedSeconds
            self.activationBytes = activationBytes
            self.plannedActivationBytes = plannedActivationBytes
        }
    }

    public init(
        processor: String, threads: Int, type: ElementType, matrixRate: Double, secondsPerOperation: Double,
        secondsPerOperationAndInverseWidth: Double, updatesPerSecond: Double, sharedSumBytesPerSecond: Double,
        diskBytesPerSecond: Double, programBytes: Int, check: Check
    ) {
        self.processor = processor
        self.threads = threads
        self.type = type
        self.matrixRate = matrixRate
        self.secondsPerOperation = secondsPerOperation
        self.secondsPerOperationAndInverseWidth = secondsPerOperationAndInverseWidth
        self.updatesPerSecond = updatesPerSecond
        self.sharedSumBytesPerSecond = sharedSumBytesPerSecond
        self.diskBytesPerSecond = diskBytesPerSecond
        self.programBytes = programBytes
        self.check = check
    }

    /// Seconds that `operations` of a model's forward and backward pass take on `threads` threads.
    public func seconds(operations: Double, width: Int, threads: Int) -> Double {
        operations * secondsPerOperation * Double(self.threads) / Double(threads)
            + memoryPassSeconds(operations: operations, width: width, threads: threads)
    }

    /// The part of it that are passes over memory.
    func memoryPassSeconds(operations: Double, width: Int, threads: Int) -> Double {
        operations * secondsPerOperationAndInverseWidth / Double(width) * Double(self.threads) / Double(threads)
    }

    /// Seconds that the optimizer takes for so many parameters on `threads` threads.
    public func updateSeconds(parameters: Int, threads: Int) -> Double {
        Double(parameters) / updatesPerSecond * Double(self.threads) / Double(threads)
    }
}
