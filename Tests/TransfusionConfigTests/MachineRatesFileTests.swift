import Foundation
import Testing
import TransfusionCore
import TransfusionModels
import _TestUtilities

@testable import TransfusionConfig

@Suite struct MachineRatesFileTests {
    private func readBack(_ change: (inout MachineRates) -> Void = { _ in }) throws -> MachineRates? {
        var rates = MachineRates.example
        change(&rates)
        return MachineRates(json: [UInt8](try JSONEncoder().encode(rates)))
    }

    @Test func readsWhatIsWritten() throws {
        #expect(try readBack() == MachineRates.example)
    }

    @Test func refusesRatesThatGiveNoTime() throws {
        #expect(try readBack { $0.updatesPerSecond = 0 } == nil)
        #expect(try readBack { $0.threads = 0 } == nil)
        #expect(try readBack { $0.threads = .max } == nil)
        #expect(try readBack { $0.programBytes = .max } == nil)
        #expect(try readBack { $0.diskBytesPerSecond = 1e-300 } == nil)
        #expect(try readBack { $0.secondsPerOperation = 1e300 } == nil)
        #expect(try readBack { $0.type = .i32 } == nil)
        #expect(try readBack { $0.secondsPerOperation = -1e-12 } == nil)
        #expect(try readBack { ($0.secondsPerOperation, $0.secondsPerOperationAndInverseWidth) = (0, 0) } == nil)
        #expect(MachineRates(json: [UInt8]("[]".utf8)) == nil)
    }

    @Test func namesTheFile() {
        #expect(throws: CommandFailure.self) { try MachineRates.read("/nowhere/rates.json") }
        let failure = #expect(throws: CommandFailure.self) { try MachineRates.read("/dev/null") }
        #expect(failure?.description.contains("/dev/null") == true && failure?.code == .wrongUse)
    }
}
