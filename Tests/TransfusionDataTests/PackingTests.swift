import Testing
import TransfusionCore
import TransfusionModels

@testable import TransfusionData

@Suite struct PackingTests {
    /// What so many steps hold: text tokens for each patch, images of a step and the share of padding.
    private func measure(
        _ source: BatchSource, blocks: Int = 3
    ) throws -> (ratio: Double, images: Double, padding: Double) {
        let settings = source.settings, steps = blocks * source.shape.steps
        var images = 0, tokens = 0
        for step in 0..<steps {
            let counts = try source.counts(step: step)
            #expect(counts.leftOut == 0)
            images += counts.images
            tokens += counts.tokens
        }
        let rows = Double(steps * settings.globalSequences * settings.sequenceLength)
        let patches = Double(images * source.model.patchesPerImage)
        return ((Double(tokens) - patches) / patches, Double(images) / Double(steps), 1 - Double(tokens) / rows)
    }

    /// Captions as people write them: many short ones, some long.
    private static let realistic = (0..<3000).map { index in
        index == 77 ? 372 : 1 + (index * 7919 % 40) * (index * 104_729 % 9) + index % 11
    }

    @Test func oneLongCaptionDoesNotStarveTheImages() throws {
        let set = try LengthsDataset(captions: [Int](repeating: 8, count: 20) + [1300], text: 100_000)
        for ratio in [1.5, 2.0] {
            let source = try set.source(length: 1408, rows: 16, patch: 1) { $0.textToImageRatio = ratio }
            let measured = try measure(source)
            // 16 rows of 1,408, of which one in two or three is a patch; there are 64 to an image.
            #expect(abs(measured.images / (16 * 1408 / 64 / (1 + ratio)) - 1) < 0.02)
            #expect(abs(measured.ratio / ratio - 1) < 0.02 && measured.padding == 0)
            #expect(source.shares.reason == nil)
        }
    }

    @Test func realisticCaptionsReachTheAskedRatio() throws {
        let captions = Self.realistic
        #expect(captions.max() == 372 && captions.min() == 1)
        let set = try LengthsDataset(captions: captions, text: 200_000)
        let alone = Double(captions.reduce(0, +)) / Double(captions.count) * 0.9 + 4
        for ratio in [1.5, 3.0] {
            #expect(alone / 64 < ratio)
            let source = try set.source(length: 512, rows: 8, patch: 1) { $0.textToImageRatio = ratio }
            let measured = try measure(source)
            #expect(abs(measured.ratio / ratio - 1) < 0.02 && measured.padding == 0)
            #expect(abs((source.shares.textToImageRatio ?? 0) / ratio - 1) < 0.001)
        }
    }

    @Test func captionsThatAreMoreTextThanAskedForLeaveNoRoomForOther() throws {
        let set = try LengthsDataset(captions: Self.realistic, text: 200_000)
        let source = try set.source(length: 512, rows: 8, patch: 1) { $0.textToImageRatio = 0.1 }
        let alone = Double(Self.realistic.reduce(0, +)) / Double(Self.realistic.count) * 0.9 + 4
        let measured = try measure(source)
        // Nearly all rows belong to pairs; the ends are filled with text.
        #expect(measured.padding == 0)
        #expect(measured.ratio > alone / 64 && measured.ratio < alone / 64 * 1.06)
        #expect(abs(measured.ratio / (source.shares.textToImageRatio ?? 0) - 1) < 0.01)
        #expect(source.shares.reason?.contains("captions and markers alone") == true)
    }

    @Test func aSplitWithoutTextIsHardlyPadded() throws {
        let set = try LengthsDataset(captions: Self.realistic, text: 0)
        for (length, patch) in [(1024, 1), (512, 2)] {
            let source = try set.source(length: length, rows: 8, patch: patch)
            let measured = try measure(source)
            #expect(measured.padding > 0 && measured.padding < 0.01, "\(measured.padding)")
            #expect(abs(measured.padding - source.shares.padding) < 0.002)
            #expect(source.shares.reason?.contains("no text") == true)
        }
    }

    @Test(arguments: [0.3, 1, 4]) func pairsAndTextComeInTheirTurn(_ ratio: Double) throws {
        let set = try LengthsDataset(captions: Self.realistic, text: 20_000)
        let source = try set.source(length: 512, rows: 6, patch: 1) { $0.textToImageRatio = ratio }
        var positions: [Int] = []
        var text = 0
        for number in 0..<4 {
            let block = try source.block(number)
            #expect(block.leftOut == 0 && block.rows.count == 6 * source.shape.steps)
            positions += block.pairs
            // Every block takes its text in turn whole.
            let room = block.rows.reduce(0) { $0 + $1.textCount }
            #expect(room >= source.shape.text)
            for row in block.rows {
                #expect(row.textStart == text - number * source.shape.text || row.textStart >= source.shape.text)
                text += max(0, min(row.textCount, source.shape.text - row.textStart))
            }
            #expect(text == (number + 1) * source.shape.text)
        }
        #expect(positions.sorted() == Array(0..<positions.count))
        #expect(source.shares.spareText < 0.02)
    }

    @Test func everyStepHasItsShareOfImages() throws {
        let set = try LengthsDataset(captions: Self.realistic, text: 200_000)
        for ratio in [0.1, 2.0] {
            let source = try set.source(length: 512, rows: 8, patch: 1) { $0.textToImageRatio = ratio }
            let images = try (0..<source.shape.steps).map { Double(try source.counts(step: $0).images) }
            let mean = images.reduce(0, +) / Double(images.count)
            #expect(source.shape.steps > 8)
            let deviation = images.reduce(0) { $0 + abs($1 - mean) } / Double(images.count)
            #expect(deviation < 0.1 * mean, "\(deviation) of \(mean)")
        }
    }

    @Test func captionsAreCutOnRequestAndCounted() throws {
        let captions = [5, 100, 60, 7, 61, 8, 9, 10]
        let set = try LengthsDataset(captions: captions, text: 5000)
        let source = try set.source(length: 128, rows: 4, patch: 2) {
            $0.longestCaption = 60
            $0.captionDropout = 0
            $0.captionFirst = 1
        }
        #expect(source.shares.cutCaptions == 2 && source.shares.cutTokens == 41)
        #expect(source.shares.description.contains("cuts 2 captions, which lose 41 tokens"))
        for step in 0..<source.shape.steps {
            let batch = try source.microBatch(step: step, sequences: 0..<4)
            let tokens = batch.layout.tokens
            for (image, start) in batch.layout.imageStarts.enumerated() {
                let pair = try set.dataset.pair(batch.pairs[image])
                let caption = Array(try set.dataset.caption(pair).prefix(60))
                let end = Int(start) - 1
                #expect(Array(tokens[end - caption.count..<end]) == caption)
                #expect(tokens[end - caption.count - 1] == source.model.beginOfText)
            }
        }
        // All are longer than allowed.
        let all = try set.source(length: 128, rows: 4, patch: 2) { $0.longestCaption = 1 }
        #expect(all.shares.cutCaptions == 8 && all.shares.cutTokens == captions.reduce(0, +) - 8)
        #expect(try measure(all).padding == 0)
    }

    @Test func rowsTooShortForTheLongestCaptionAreRefusedWithTheRemedy() throws {
        let set = try LengthsDataset(captions: [3, 200], text: 1000)
        let error = #expect(throws: DataError.self) { _ = try set.source(length: 100, rows: 4, patch: 2) }
        #expect(
            error?.description.hasSuffix(
                "(200 tokens); use at least 220, or cut captions with data.max_caption_tokens: 80 or less") == true)
        #expect(error?.isWrongUse == true)
        _ = try set.source(length: 100, rows: 4, patch: 2) { $0.longestCaption = 80 }
    }

    /// The index would be 24 GB; it is a hole in a file, and hardly any of it is looked at.
    @Test(.timeLimit(.minutes(1))) func aBillionPairsAreNotLookedAtOneByOne() throws {
        let set = try LengthsDataset(emptyCaptions: 1_000_000_000, text: 10_000)
        let source = try set.source(length: 1024, rows: 16, patch: 1)
        for step in [0, 1, 999_999_999] {
            let batch = try source.microBatch(step: step, sequences: 0..<16)
            #expect(Set(batch.pairs).count == batch.pairs.count && batch.pairs.count > 100)
            let again = try set.source(length: 1024, rows: 16, patch: 1).microBatch(step: step, sequences: 0..<16)
            #expect(again.pairs == batch.pairs && again.layout == batch.layout)
        }
        #expect(source.shape.meanPairs < 200_000)
    }

    @Test func rowsArePackedEvenlyAndTightly() {
        // The longest first, each to the emptiest row.
        let even = RowPacking([5, 3, 6, 4], steps: 1, rowsOfStep: 2, rowLength: 10)
        #expect(even.rows == [[2, 1], [0, 3]] && even.leftOver.isEmpty && !even.isTight)
        // That way, the last 3 would find no room.
        let tight = RowPacking([5, 3, 5, 4, 3], steps: 1, rowsOfStep: 2, rowLength: 10)
        #expect(tight.rows == [[0, 2], [3, 1, 4]] && tight.leftOver.isEmpty && tight.isTight)
        // Documents keep their step where there is room.
        let steps = RowPacking([2, 7, 3, 4], steps: 2, rowsOfStep: 1, rowLength: 10)
        #expect(steps.rows == [[1, 0], [3, 2]] && steps.leftOver.isEmpty && !steps.isTight)
        let moved = RowPacking([9, 9, 1, 1], steps: 2, rowsOfStep: 1, rowLength: 10)
        #expect(moved.rows.joined().sorted() == [0, 1, 2, 3] && moved.leftOver.isEmpty)
        let full = RowPacking([6, 6, 6], steps: 1, rowsOfStep: 2, rowLength: 10)
        #expect(full.leftOver.count == 1)
        var random: UInt64 = 9
        for _ in 0..<200 {
            let lengths = (0..<60).map { _ -> Int32 in
                random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Int32(1 + random >> 33 % 40)
            }
            let packing = RowPacking(lengths[...], steps: 3, rowsOfStep: 5, rowLength: 64)
            #expect((packing.rows.joined() + packing.leftOver).sorted() == Array(0..<60))
            for row in packing.rows { #expect(row.reduce(0) { $0 + lengths[Int($1)] } <= 64) }
        }
    }
}
