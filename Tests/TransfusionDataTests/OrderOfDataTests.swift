import Testing
import TransfusionCore
import TransfusionModels

@testable import TransfusionData

/// What runs that were begun by earlier versions go on with: which data each step holds.
@Suite struct OrderOfDataTests {
    /// A digest of all that some steps hold.
    private func digest(_ source: BatchSource, steps: [Int]) throws -> String {
        var bytes: [UInt8] = []
        for step in steps {
            let batch = try source.microBatch(step: step, sequences: 0..<source.settings.globalSequences)
            for token in batch.layout.tokens + batch.layout.positions {
                withUnsafeBytes(of: token.littleEndian) { bytes += $0 }
            }
            for number in batch.pairs + batch.timestepLimits {
                withUnsafeBytes(of: number.littleEndian) { bytes += $0 }
            }
            for pixel in batch.images { withUnsafeBytes(of: pixel.bitPattern.littleEndian) { bytes += $0 } }
        }
        return String(SHA256.hexDigest(bytes).prefix(16))
    }

    @Test func theBatchesAreThoseOfVersion2() throws {
        let set = try SyntheticDataset()
        func source(_ split: String = "train", length: Int, rows: Int, seed: UInt64) throws -> BatchSource {
            try BatchSource(
                dataset: set.dataset, split: split,
                settings: BatchSettings(sequenceLength: length, globalSequences: rows, seed: seed), model: set.model)
        }
        #expect(try digest(source(length: 64, rows: 6, seed: 7), steps: [0, 1, 57, 1_000_003]) == "7260b3e202fef8cb")
        #expect(try digest(source(length: 96, rows: 5, seed: 1 << 60), steps: [3, 999]) == "40a29fccdef7fe1c")
        #expect(try digest(source("held_out", length: 64, rows: 2, seed: 7), steps: [0, 12345]) == "ecef18c97fefc525")
        let captions = (0..<3000).map { 1 + ($0 * 7919 % 40) * ($0 * 104_729 % 9) + $0 % 11 }
        let lengths = try LengthsDataset(captions: captions, text: 20_000)
        for (ratio, expected) in [(0.3, "989a25957284b94c"), (4, "a90e94b83fa50c50")] {
            let source = try lengths.source(length: 512, rows: 6, patch: 1) { $0.textToImageRatio = ratio }
            #expect(try digest(source, steps: [0, 700]) == expected)
        }
    }
}
