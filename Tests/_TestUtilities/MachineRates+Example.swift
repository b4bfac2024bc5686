import TransfusionCore
public import TransfusionModels

extension MachineRates {
    /// Round numbers near those of a small server.
    public static let example = MachineRates(
        processor: "a processor", threads: 2, type: .bf16, matrixRate: 1e12, secondsPerOperation: 1.1e-12,
        secondsPerOperationAndInverseWidth: 1e-10, updatesPerSecond: 5e8, sharedSumBytesPerSecond: 1e10,
        diskBytesPerSecond: 1e9, programBytes: 100_000_000,
        check: Check(model: "none", seconds: 1, plannedSeconds: 1, activationBytes: 1, plannedActivationBytes: 1))
}
