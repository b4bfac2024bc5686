import TransfusionCore

/// The whole story of a packed batch: what each row is, which rows it may see, and where a loss is due.
///
/// Rows of all sequences of a micro-batch follow each other in one index space `0..<count`. A document is a run of rows
/// that attend only to each other; an image is a run of patch rows inside a document.
///
/// The mask is an interval: the row `i` sees exactly the rows `visibleStart[i] ..< visibleEnd[i]`.
///
/// ### References
/// Transfusion (arXiv 2408.11039) section 3; decisions D1 to D3 and D11 in docs/method.md.
public struct RowLayout: Sendable, Equatable {
    /// What an implementation may decide differently. The defaults are the project's.
    public struct Options: Sendable, Equatable, Codable {
        /// All patches of an image share one position, and the text continues with the next.
        public var sharedImagePosition = false
        /// Attention and positions run on through the documents of a sequence.
        public var attendAcrossDocuments = false
        /// The last patch of an image predicts EOI.
        public var endOfImageIsTarget = false
        /// A patch sees those of its image before it, and not those after it: the ablation of the paper's Table 5.
        public var causalImages = false

        public init() {}

        /// Files of earlier versions do not have all options.
        public init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            func flag(_ key: CodingKeys) throws -> Bool { try values.decodeIfPresent(Bool.self, forKey: key) ?? false }
            sharedImagePosition = try flag(.sharedImagePosition)
            attendAcrossDocuments = try flag(.attendAcrossDocuments)
            endOfImageIsTarget = try flag(.endOfImageIsTarget)
            causalImages = try flag(.causalImages)
        }
    }

    /// The token of each row; -1 where the row is a patch.
    public let tokens: [Int32]
    /// The token that each row shall predict; -1 where no text loss is due.
    public let targets: [Int32]
    /// The position of each row for rotary embedding, from 0 in each document.
    public let positions: [Int32]
    /// The first row that each row sees.
    public let visibleStart: [Int32]
    /// One past the last row that each row sees.
    public let visibleEnd: [Int32]
    /// The first row of each image, ascending.
    public let imageStarts: [Int32]
    public let patchesPerImage: Int

    public var count: Int { tokens.count }
    public var imageCount: Int { imageStarts.count }
    /// How many rows have a text loss.
    public let targetCount: Int

    /// - Parameters:
    ///   - tokens: The token of each row, -1 at patches.
    ///   - documentStarts: The first row of each document, ascending, beginning with 0.
    ///   - sequenceLength: With `attendAcrossDocuments`, documents of one sequence see each other; sequences never do.
    ///     Elsewhere it is not used.
    ///   - imageStarts: The first patch row of each image, ascending.
    ///   - beginOfImage: What stands before the patches of an image; nil, like `endOfImage`, where images are tokens like
    ///     others.
    /// - Throws: `RowLayoutError`, which names the row and what is wrong with it.
    public init(
        tokens: [Int32], documentStarts: [Int32], imageStarts: [Int32], patchesPerImage: Int,
        beginOfImage: Int32?, endOfImage: Int32?, sequenceLength: Int? = nil, options: Options = Options()
    ) throws(RowLayoutError) {
        let count = tokens.count
        guard count <= Int(Int32.max) else { throw .tooManyRows(count) }
        try Self.validate(tokens, documentStarts, imageStarts, patchesPerImage)

        var targets = [Int32](repeating: -1, count: count)
        var positions = [Int32](repeating: 0, count: count)
        var visibleStart = [Int32](repeating: 0, count: count)
        var visibleEnd = (0..<count).map { Int32($0 + 1) }

        var isLastPatch = [Bool](repeating: false, count: count)
        for image in imageStarts {
            let end = image + Int32(patchesPerImage)
            isLastPatch[Int(end) - 1] = true
            if options.causalImages { continue }
            for row in Int(image)..<Int(end) { visibleEnd[row] = end }
        }
        var nextDocument = 0
        var documentStart = 0
        var visibleFrom = 0
        var position: Int32 = 0
        for row in 0..<count {
            if nextDocument < documentStarts.count, Int(documentStarts[nextDocument]) == row {
                nextDocument += 1
                documentStart = row
                let startsSequence = sequenceLength.map { row % $0 == 0 } ?? (row == 0)
                if !options.attendAcrossDocuments || startsSequence {
                    visibleFrom = row
                    position = 0
                }
            }
            visibleStart[row] = Int32(visibleFrom)
            positions[row] = position
            let isInsideImage = tokens[row] < 0 && !isLastPatch[row]
            if !(options.sharedImagePosition && isInsideImage) { position += 1 }

            let endOfDocument = nextDocument < documentStarts.count ? Int(documentStarts[nextDocument]) : count
            guard row + 1 < endOfDocument, row >= documentStart, tokens[row + 1] >= 0 else { continue }
            let next = tokens[row + 1]
            let isDue =
                tokens[row] >= 0
                ? tokens[row] != beginOfImage && next != endOfImage
                : options.endOfImageIsTarget && next == endOfImage
            if isDue {
                targets[row] = next
            }
        }
        self.init(
            tokens: tokens, targets: targets, positions: positions, visibleStart: visibleStart, visibleEnd: visibleEnd,
            imageStarts: imageStarts, patchesPerImage: patchesPerImage)
    }

    /// The rows of a batch for a model.
    public init(
        _ model: ModelConfiguration, tokens: [Int32], documentStarts: [Int32], imageStarts: [Int32] = [],
        sequenceLength: Int? = nil
    ) throws(RowLayoutError) {
        let hasPatches = model.images != .tokens
        try self.init(
            tokens: tokens, documentStarts: documentStarts, imageStarts: imageStarts,
            patchesPerImage: model.patchesPerImage, beginOfImage: hasPatches ? model.beginOfImage : nil,
            endOfImage: hasPatches ? model.endOfImage : nil, sequenceLength: sequenceLength, options: model.rowOptions)
    }

    /// Rows whose story is known already.
    init(
        tokens: [Int32], targets: [Int32], positions: [Int32], visibleStart: [Int32], visibleEnd: [Int32],
        imageStarts: [Int32], patchesPerImage: Int
    ) {
        self.tokens = tokens
        self.targets = targets
        self.positions = positions
        self.visibleStart = visibleStart
        self.visibleEnd = visibleEnd
        self.imageStarts = imageStarts
        self.patchesPerImage = patchesPerImage
        targetCount = targets.count { $0 >= 0 }
    }

    private static func validate(
        _ tokens: [Int32], _ documentStarts: [Int32], _ imageStarts: [Int32], _ patchesPerImage: Int
    ) throws(RowLayoutError) {
        if !tokens.isEmpty, documentStarts.first != 0 { throw .firstDocumentNotAtZero }
        for (previous, next) in zip(documentStarts, documentStarts.dropFirst()) where previous >= next {
            throw .documentsNotAscending(row: Int(next))
        }
        if let last = documentStarts.last, last >= tokens.count { throw .documentsNotAscending(row: Int(last)) }
        var isPatch = [Bool](repeating: false, count: tokens.count)
        var previousEnd: Int32 = 0
        for start in imageStarts {
            guard start >= previousEnd, Int(start) + patchesPerImage <= tokens.count, patchesPerImage > 0 else {
                throw .imageOutOfPlace(row: Int(start))
            }
            previousEnd = start + Int32(patchesPerImage)
            for row in Int(start)..<Int(previousEnd) { isPatch[row] = true }
        }
        for start in documentStarts where start > 0 && isPatch[Int(start)] && !imageStarts.contains(start) {
            throw .documentStartsInsideImage(row: Int(start))
        }
        for row in tokens.indices where (tokens[row] < 0) != isPatch[row] {
            throw .patchAndTokenDisagree(row: row)
        }
    }
}

/// Why rows cannot be a batch.
public enum RowLayoutError: Error, Equatable, CustomStringConvertible {
    case tooManyRows(Int)
    case firstDocumentNotAtZero
    case documentsNotAscending(row: Int)
    case documentStartsInsideImage(row: Int)
    case imageOutOfPlace(row: Int)
    case patchAndTokenDisagree(row: Int)

    public var description: String {
        switch self {
        case .tooManyRows(let count): "\(count) rows in one micro-batch are more than 2147483647"
        case .firstDocumentNotAtZero: "document_starts must begin with row 0"
        case .documentsNotAscending(let row): "document_starts must ascend and lie inside the rows (at row \(row))"
        case .documentStartsInsideImage(let row): "a document starts inside the image at row \(row)"
        case .imageOutOfPlace(let row): "the image at row \(row) overlaps another or leaves the rows"
        case .patchAndTokenDisagree(let row):
            "row \(row): a token of -1 marks a patch, and every patch lies in an image of image_starts"
        }
    }
}
