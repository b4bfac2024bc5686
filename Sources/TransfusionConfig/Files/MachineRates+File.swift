internal import Foundation
import TransfusionCore
public import TransfusionModels

extension MachineRates {
    private static let largestFile = 1 << 20

    /// The rates that `tf-bench rates --json` wrote into a file.
    ///
    /// - Throws: `CommandFailure` that names the file.
    public static func read(_ path: String) throws(CommandFailure) -> MachineRates {
        guard let file = FileHandle(forReadingAtPath: path), let data = try? file.read(upToCount: largestFile) else {
            throw CommandFailure(
                "\(path): cannot be read; make it with 'tf-bench rates --json > \(path)'", .wrongUse)
        }
        guard let rates = MachineRates(json: [UInt8](data)) else {
            throw CommandFailure(
                "\(path): is not what 'tf-bench rates --json' writes; make it with that", .wrongUse)
        }
        return rates
    }

    /// nil when that is not what `tf-bench rates --json` writes, or nothing can be estimated with it.
    public init?(json: [UInt8]) {
        guard let rates = try? JSONDecoder().decode(MachineRates.self, from: Data(json)) else { return nil }
        // Wider than those of any machine, and narrow enough that what is computed from them stays a number.
        let perSecond = [
            rates.matrixRate, rates.updatesPerSecond, rates.sharedSumBytesPerSecond, rates.diskBytesPerSecond,
        ]
        let perOperation = [rates.secondsPerOperation, rates.secondsPerOperationAndInverseWidth]
        guard perSecond.allSatisfy({ 1...1e21 ~= $0 }), perOperation.allSatisfy({ 0...1 ~= $0 }),
            perOperation.reduce(0, +) >= 1e-21, 1...65536 ~= rates.threads, 0...1 << 50 ~= rates.programBytes,
            rates.type == .f32 || rates.type == .bf16
        else { return nil }
        self = rates
    }
}
