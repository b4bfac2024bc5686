import Foundation
import Testing

@testable import TransfusionCore
@testable import TransfusionModels

@Suite struct RowLayoutTests {
    private static let boi: Int32 = 90
    private static let eoi: Int32 = 91

    private func layout(
        _ tokens: [Int32], documents: [Int32] = [0], images: [Int32] = [], patches: Int = 4,
        sequenceLength: Int? = nil, options: RowLayout.Options = .init()
    ) throws -> RowLayout {
        try RowLayout(
            tokens: tokens, documentStarts: documents, imageStarts: images, patchesPerImage: patches,
            beginOfImage: Self.boi, endOfImage: Self.eoi, sequenceLength: sequenceLength, options: options)
    }

    // MARK: One captioned image

    /// BOS, caption, BOI, four patches, EOI, text, EOS.
    private let captioned: [Int32] = [1, 7, 8, 90, -1, -1, -1, -1, 91, 9, 2]

    @Test func aPatchSeesItsWholeImageAndTextSeesWhatCameBefore() throws {
        let rows = try layout(captioned, images: [4])
        #expect(rows.visibleStart == [Int32](repeating: 0, count: 11))
        #expect(rows.visibleEnd == [1, 2, 3, 4, 8, 8, 8, 8, 9, 10, 11])
        #expect(rows.positions == Array(0..<11))
        #expect(rows.count == 11 && rows.imageCount == 1)
    }

    @Test func theTextLossSkipsBOIPatchesAndEOI() throws {
        let rows = try layout(captioned, images: [4])
        // BOI is a target, EOI is not; BOI as input has no loss; EOI as input predicts the next word.
        #expect(rows.targets == [7, 8, 90, -1, -1, -1, -1, -1, 9, 2, -1])
        #expect(rows.targetCount == 5)
    }

    @Test func theLastPatchPredictsEOIWhenAsked() throws {
        var options = RowLayout.Options()
        options.endOfImageIsTarget = true
        let rows = try layout(captioned, images: [4], options: options)
        #expect(rows.targets == [7, 8, 90, -1, -1, -1, -1, 91, 9, 2, -1])
        #expect(rows.targetCount == 6)
    }

    @Test func aPatchSeesThoseBeforeItWhenImagesAreCausal() throws {
        var options = RowLayout.Options()
        options.causalImages = true
        let rows = try layout(captioned, images: [4], options: options)
        #expect(rows.visibleEnd == (1...11).map { Int32($0) })
        #expect(rows.positions == Array(0..<11) && rows.targets == [7, 8, 90, -1, -1, -1, -1, -1, 9, 2, -1])
        options.sharedImagePosition = true
        #expect(try layout(captioned, images: [4], options: options).positions == [0, 1, 2, 3, 4, 4, 4, 4, 5, 6, 7])
    }

    @Test func optionsOfEarlierVersionsAreRead() throws {
        let old = #"{"sharedImagePosition": true, "attendAcrossDocuments": false, "endOfImageIsTarget": true}"#
        let options = try JSONDecoder().decode(RowLayout.Options.self, from: Data(old.utf8))
        #expect(options.sharedImagePosition && options.endOfImageIsTarget && !options.causalImages)
    }

    @Test func bOIBeforeAWordHasNoLoss() throws {
        #expect(try layout([1, 90, 5, 91, 6]).targets == [90, -1, -1, 6, -1])
    }

    /// lucidrains/transfusion-pytorch gives 0 1 2 3 3 3 3 4 5 6 for ten rows with an image of four at row 3.
    @Test func patchesShareAPositionWhenAsked() throws {
        var options = RowLayout.Options()
        options.sharedImagePosition = true
        let rows = try layout([1, 2, 90, -1, -1, -1, -1, 91, 3, 4], images: [3], options: options)
        #expect(rows.positions == [0, 1, 2, 3, 3, 3, 3, 4, 5, 6])
        let single = try layout([1, -1, -1, 3], images: [1, 2], patches: 1, options: options)
        #expect(single.positions == [0, 1, 2, 3])
        let neighbours = try layout([-1, -1, -1, -1], images: [0, 2], patches: 2, options: options)
        #expect(neighbours.positions == [0, 0, 1, 1])
    }

    // MARK: Several documents

    @Test func documentsDoNotSeeOrPredictEachOther() throws {
        let rows = try layout([1, 5, 2, 1, 6, 7], documents: [0, 3])
        #expect(rows.visibleStart == [0, 0, 0, 3, 3, 3])
        #expect(rows.positions == [0, 1, 2, 0, 1, 2])
        #expect(rows.targets == [5, 2, -1, 6, 7, -1])
    }

    @Test func documentsOfASequenceSeeEachOtherWhenAskedButSequencesDoNot() throws {
        var options = RowLayout.Options()
        options.attendAcrossDocuments = true
        let rows = try layout(
            [1, 5, 1, 6, 1, 7, 1, 8], documents: [0, 2, 4, 6], sequenceLength: 4, options: options)
        #expect(rows.visibleStart == [0, 0, 0, 0, 4, 4, 4, 4])
        #expect(rows.positions == [0, 1, 2, 3, 0, 1, 2, 3])
        // A document never predicts the first token of the next.
        #expect(rows.targets == [5, -1, 6, -1, 7, -1, 8, -1])
    }

    // MARK: Against the definition

    /// Random documents of text and images, some starting or ending with an image, some with images side by side.
    private func randomRows(_ seed: UInt64, patches: Int) -> (tokens: [Int32], documents: [Int32], images: [Int32]) {
        let random = Philox(seed: seed, purpose: .packing)
        var tokens: [Int32] = []
        var documents: [Int32] = []
        var images: [Int32] = []
        for piece in 0..<12 {
            if piece == 0 || random.integer(below: 3, at: 3 * piece) == 0 { documents.append(Int32(tokens.count)) }
            let length = 1 + random.integer(below: 4, at: 3 * piece + 1)
            switch random.integer(below: 4, at: 3 * piece + 2) {
            case 0:
                tokens.append(Self.boi)
                images.append(Int32(tokens.count))
                tokens += [Int32](repeating: -1, count: patches) + [Self.eoi]
            case 1:
                images.append(Int32(tokens.count))
                tokens += [Int32](repeating: -1, count: patches)
            default: tokens += (0..<length).map { Int32(3 + $0) }
            }
        }
        return (tokens, documents, images)
    }

    @Test(arguments: 0..<60 as Range<UInt64>)
    func intervalsEqualTheDenseMask(seed: UInt64) throws {
        let patches = 1 + Int(seed % 5)
        let (tokens, documents, images) = randomRows(seed, patches: patches)
        var options = RowLayout.Options()
        options.sharedImagePosition = seed % 2 == 1
        options.endOfImageIsTarget = seed % 3 == 1
        options.causalImages = seed % 4 > 1
        let rows = try layout(tokens, documents: documents, images: images, patches: patches, options: options)
        func document(_ row: Int) -> Int { documents.lastIndex { Int($0) <= row } ?? -1 }
        func image(_ row: Int) -> Int? {
            images.firstIndex { Int($0) <= row && row < Int($0) + patches }
        }
        for query in tokens.indices {
            for key in tokens.indices {
                let sameImage = image(query) != nil && image(query) == image(key) && !options.causalImages
                let allowed = document(query) == document(key) && (key <= query || sameImage)
                let visible = Int(rows.visibleStart[query])..<Int(rows.visibleEnd[query])
                #expect(visible.contains(key) == allowed, "query \(query), key \(key)")
            }
        }
        for row in tokens.indices.dropFirst() {
            let restarts = document(row) != document(row - 1)
            let stays = options.sharedImagePosition && image(row) != nil && image(row) == image(row - 1)
            #expect(rows.positions[row] == (restarts ? 0 : rows.positions[row - 1] + (stays ? 0 : 1)))
        }
        for row in tokens.indices {
            let next = row + 1 < tokens.count && document(row + 1) == document(row) ? tokens[row + 1] : -1
            let due =
                image(row) == nil
                ? next >= 0 && tokens[row] != Self.boi && next != Self.eoi
                : options.endOfImageIsTarget && next == Self.eoi
            #expect(rows.targets[row] == (due ? next : -1), "row \(row)")
        }
        #expect(rows.targetCount == rows.targets.count { $0 >= 0 })
    }

    // MARK: What is refused

    @Test func refusesRowsThatCannotBeABatch() {
        func refuses(
            _ error: RowLayoutError, _ tokens: [Int32], documents: [Int32] = [0], images: [Int32] = [],
            patches: Int = 2, _ location: SourceLocation = #_sourceLocation
        ) {
            #expect(throws: error, sourceLocation: location) {
                try layout(tokens, documents: documents, images: images, patches: patches)
            }
        }
        refuses(.firstDocumentNotAtZero, [1, 2], documents: [1])
        refuses(.firstDocumentNotAtZero, [1, 2], documents: [])
        refuses(.firstDocumentNotAtZero, [1, 2], documents: [-1, 0])
        refuses(.documentsNotAscending(row: 1), [1, 2, 3], documents: [0, 2, 1])
        refuses(.documentsNotAscending(row: 1), [1, 2, 3], documents: [0, 1, 1])
        refuses(.documentsNotAscending(row: 3), [1, 2, 3], documents: [0, 3])
        refuses(.documentStartsInsideImage(row: 2), [1, -1, -1, 2], documents: [0, 2], images: [1])
        refuses(.imageOutOfPlace(row: 3), [1, 2, 3, -1], images: [3])
        refuses(.imageOutOfPlace(row: -1), [-1, -1, 2], images: [-1])
        refuses(.imageOutOfPlace(row: 2), [1, -1, -1, -1], images: [1, 2])
        refuses(.imageOutOfPlace(row: 1), [1, -1, -1, -1, -1], images: [3, 1])
        refuses(.imageOutOfPlace(row: 1), [1, 2], images: [1], patches: 0)
        refuses(.imageOutOfPlace(row: Int(Int32.max)), [1, -1, -1], images: [.max])
        refuses(.patchAndTokenDisagree(row: 1), [1, 5, -1], images: [1])
        refuses(.patchAndTokenDisagree(row: 1), [1, -1, 2])
    }

    @Test func everyRefusalSaysWhere() {
        let errors: [RowLayoutError] = [
            .documentsNotAscending(row: 17), .documentStartsInsideImage(row: 17), .imageOutOfPlace(row: 17),
            .patchAndTokenDisagree(row: 17), .tooManyRows(17),
        ]
        for error in errors {
            #expect(error.description.contains("17") && !error.description.contains("\n"))
        }
    }

    @Test func noRowsAreABatchWithoutLoss() throws {
        let rows = try layout([], documents: [])
        #expect(rows.count == 0 && rows.targetCount == 0)
    }

    @Test func anImageMayStartADocument() throws {
        let rows = try layout([1, -1, -1, 4], documents: [0, 1], images: [1], patches: 2)
        #expect(rows.visibleStart == [0, 1, 1, 1] && rows.visibleEnd == [1, 3, 3, 4])
    }
}
