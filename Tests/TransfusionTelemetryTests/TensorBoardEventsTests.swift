import Foundation
import Testing
import TransfusionConfig
import TransfusionSupport
import _TestUtilities

@testable import TransfusionTelemetry

/// The expected bytes were written by TensorBoard 2.20's own protocol buffers and record writer.
struct TensorBoardEventsTests {
    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { String(format: "%02x", $0) }.joined()
    }

    @Test func checksumsAreCastagnolis() {
        #expect(TensorBoardEvents.crc32c(Array("123456789".utf8)) == 0xE306_9283)
        #expect(TensorBoardEvents.crc32c([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
    }

    @Test func headersAreTensorBoards() {
        let version = TensorBoardEvents.framed(TensorBoardEvents.fileVersion(time: 1_700_000_000.25).bytes)
        #expect(
            hexadecimal(version)
                == "1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe9")
        let restart = TensorBoardEvents.framed(TensorBoardEvents.restart(time: 1_700_000_000.25, step: 401).bytes)
        #expect(hexadecimal(restart) == "100000000000000095fbfe180900001040fc54d9411091033a0208019fbb5cf8")
    }

    @Test func scalarsAreTensorBoards() {
        let event = TensorBoardEvents.scalars(
            [("loss/total", 2.3125), ("optim/lr", 3e-4)], time: 1_700_000_001.5, step: 300)
        #expect(
            hexadecimal(TensorBoardEvents.framed(event.bytes)) == """
                3200000000000000241956ec0900006040fc54d94110ac022a240a110a0a6c6f73732f746f74616c15000014400a0f0a086f\
                7074696d2f6c721552499d3980057352
                """)
    }

    @Test func picturesAreTensorBoards() {
        let event = TensorBoardEvents.image(
            "samples/prompt_0", png: [UInt8](0..<200), width: 300, height: 2, time: 1_700_000_002, step: 5)
        let bytes = hexadecimal(TensorBoardEvents.framed(event.bytes))
        let beginning = """
            f800000000000000a1bdd9b00900008040fc54d94110052aea010ae7010a1073616d706c65732f70726f6d70745f3022d2010802\
            10ac02180322c801000102
            """
        #expect(bytes.hasPrefix(beginning))
        #expect(bytes.hasSuffix("c5c6c7d2c02a5e"))
        #expect(bytes.count == 2 * (12 + 248 + 4))
    }

    /// Or TensorBoard would show the steps of both starts.
    @Test func aStartAfterOneThatSavedNothingTakesItsStepsBack() throws {
        let directory = try TemporaryDirectory()
        do {
            let first = try TensorBoardEvents(directory: directory.path, continuingAfter: 0)
            try first.append(record(1))
        }
        let second = try TensorBoardEvents(directory: directory.path, continuingAfter: 0)
        let bytes = [UInt8](try Data(contentsOf: URL(filePath: second.path)))
        #expect(try lengths(second.path).count == 2)
        // A session that starts, at step 1.
        #expect(hexadecimal(Array(bytes[(24 + 16)...])).contains("10013a020801"))
    }

    @Test func everyStartHasItsFile() throws {
        let directory = try TemporaryDirectory()
        let first = try TensorBoardEvents(directory: directory.path, continuingAfter: 0)
        let second = try TensorBoardEvents(directory: directory.path, continuingAfter: 400)
        #expect(first.path != second.path)
        try second.append(record(401))
        try second.appendImage("samples/prompt_0", png: [1, 2, 3], width: 1, height: 1, step: 401)
        #expect(try lengths(first.path).count == 1)
        let events = try lengths(second.path)
        #expect(events.count == 4 && events[1] == 16)
        #expect(record(1).scalars.map(\.tag).count == Set(record(1).scalars.map(\.tag)).count)
        #expect(throws: FileFailure.self) {
            _ = try TensorBoardEvents(directory: directory.path + "/none", continuingAfter: 0)
        }
    }

    @Test func aWriteThatFailsLeavesWholeEvents() async {
        // In a process of its own, because the limit stands for a disk that fills up in the middle of an event.
        await #expect(processExitsWith: .success) {
            let directory = try TemporaryDirectory()
            let events = try TensorBoardEvents(directory: directory.path, continuingAfter: 0)
            try events.append(record(1))
            let before = try Data(contentsOf: URL(filePath: events.path))
            signal(SIGXFSZ, SIG_IGN)
            var limit = rlimit(rlim_cur: rlim_t(before.count + 10), rlim_max: .max)
            #expect(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
            let failure = #expect(throws: FileFailure.self) { try events.append(record(2)) }
            #expect(
                failure?.description == "\(events.path): cannot append to: File too large" && failure?.code == EFBIG)
            #expect(try Data(contentsOf: URL(filePath: events.path)) == before)
            limit.rlim_cur = .max
            #expect(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
            try events.append(record(3))
            #expect(try Data(contentsOf: URL(filePath: events.path)).starts(with: before))
        }
    }

    /// Walks over the frames of a file; the lengths must end exactly at its end.
    private func lengths(_ path: String) throws -> [Int] {
        let bytes = [UInt8](try Data(contentsOf: URL(filePath: path)))
        var lengths: [Int] = []
        var offset = 0
        while offset < bytes.count {
            let length = (0..<8).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
            lengths.append(length)
            offset += 16 + length
        }
        #expect(offset == bytes.count)
        return lengths
    }
}
