internal import Foundation
internal import TransfusionCore

/// What `manifest.json` says of a packed data set. docs/data-format.md describes the format for other readers.
public struct DatasetManifest: Codable, Equatable, Sendable {
    public static let formatName = "transfusion-dataset"
    /// Of a data set without edits.
    public static let currentVersion = 1
    /// Of one with edits, which programs that know of none would show as captions.
    static let versionWithEdits = 2
    /// Of one with codes of pictures, which programs that know of none cannot read.
    static let versionWithCodes = 3
    static let fileName = "manifest.json"
    /// Of a codebook whose numbers are stored.
    public static let mostCodes = 1 << 16

    /// How one image is stored: `channels · height · width` elements in that order, the width fastest.
    public struct ImageShape: Codable, Equatable, Sendable {
        public var channels: Int
        public var height: Int
        public var width: Int
        public var element: PixelType
        /// How many codes the autoencoder's codebook has, where the elements are their numbers; nil elsewhere.
        public var codes: Int?

        public init(channels: Int, height: Int, width: Int, element: PixelType) {
            self.channels = channels
            self.height = height
            self.width = width
            self.element = element
        }

        /// Numbers of codes.
        public init(codes: Int, height: Int, width: Int) {
            self.init(channels: 1, height: height, width: width, element: .u16)
            self.codes = codes
        }

        public var elements: Int { channels * height * width }
    }

    /// The type of an image's elements.
    public enum PixelType: String, Codable, Sendable {
        /// A pixel of 0 … 255, read as -1 … 1.
        case u8
        /// Read as it is.
        case bf16
        case f32
        /// The number of a code, read as it is.
        case u16

        public var bytes: Int {
            switch self {
            case .u8: 1
            case .bf16, .u16: 2
            case .f32: 4
            }
        }
    }

    /// What made the latents that stand in the place of pictures. A copy of it is among the files, so that pictures can be made
    /// of latents again.
    public struct Autoencoder: Codable, Equatable, Sendable {
        /// Where it was when the data set was made, for people.
        public var path: String
        /// Of its configuration and weights, whatever files hold them.
        public var digest: String
        /// Pixels along the side of a latent.
        public var downsampling: Int

        public init(path: String, digest: String, downsampling: Int) {
            self.path = path
            self.digest = digest
            self.downsampling = downsampling
        }
    }

    public struct Tokens: Codable, Equatable, Sendable {
        /// Bytes of one token id: 2 or 4.
        public var bytes: Int
        public var vocabulary: Int
        public var beginOfText: Int32
        public var endOfText: Int32
        public var beginOfImage: Int32
        public var endOfImage: Int32
        /// SHA-256 of the tokenizer's file.
        public var tokenizer: String

        enum CodingKeys: String, CodingKey {
            case bytes, vocabulary, tokenizer
            case beginOfText = "bos_token_id"
            case endOfText = "eos_token_id"
            case beginOfImage = "boi_token_id"
            case endOfImage = "eoi_token_id"
        }
    }

    /// A named run of pairs and a run of text documents.
    public struct Split: Codable, Equatable, Sendable {
        public var name: String
        public var firstPair = 0
        public var pairs = 0
        public var firstDocument = 0
        public var documents = 0
        /// Tokens of all captions of the split.
        public var captionTokens = 0
        public var longestCaption = 0
        /// How many of the pairs are edits, which have an original; nil for none.
        public var edits: Int?
        /// Tokens of all text documents of the split.
        public var textTokens = 0

        public var pairRange: Range<Int> { firstPair..<firstPair + pairs }
        public var documentRange: Range<Int> { firstDocument..<firstDocument + documents }

        enum CodingKeys: String, CodingKey {
            case name, pairs, documents, edits
            case firstPair = "first_pair"
            case firstDocument = "first_document"
            case captionTokens = "caption_tokens"
            case longestCaption = "longest_caption"
            case textTokens = "text_tokens"
        }
    }

    public struct File: Codable, Equatable, Sendable {
        public var bytes: Int
        public var sha256: String
    }

    public var format = formatName
    public var version = currentVersion
    /// Where the data came from, for people.
    public var description: String
    public var image: ImageShape
    /// Nil with pictures.
    public var autoencoder: Autoencoder?
    public var tokens: Tokens
    public var images = 0
    public var pairs = 0
    public var documents = 0
    public var splits: [Split] = []
    /// Every other file of the data set by name.
    public var files: [String: File] = [:]
    /// SHA-256 of this manifest's bytes with the 64 digits of the digest itself written as zeros. It covers the digests of
    /// all files, so it identifies the data set.
    public var digest = noDigest

    var hasEdits: Bool { splits.contains { $0.edits != nil } }

    /// The version that a manifest with these splits and images has.
    var ownVersion: Int {
        image.codes != nil ? Self.versionWithCodes : hasEdits ? Self.versionWithEdits : Self.currentVersion
    }

    static let noDigest = String(repeating: "0", count: 64)

    /// The manifest with its digest set, and the bytes to write.
    func sealed() throws(DataError) -> (manifest: DatasetManifest, bytes: [UInt8]) {
        var manifest = self
        manifest.version = ownVersion
        manifest.digest = Self.noDigest
        manifest.digest = SHA256.hexDigest(try manifest.encoded())
        return (manifest, try manifest.encoded())
    }

    private func encoded() throws(DataError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        do {
            return [UInt8](try encoder.encode(self)) + [UInt8(ascii: "\n")]
        } catch {
            throw DataError(Self.fileName, "cannot be encoded: \(error)")
        }
    }

    /// Reads a manifest and checks its digest, so that every number in it is as it was written.
    static func read(_ path: String) throws(DataError) -> DatasetManifest {
        let bytes = try Files.read(path, limit: 1 << 26)
        let manifest: DatasetManifest
        do {
            let header = try JSONDecoder().decode(Header.self, from: Data(bytes))
            guard header.format == formatName else {
                throw DataError(path, "is no data-set manifest (format is \"\(header.format)\")")
            }
            guard (currentVersion...versionWithCodes).contains(header.version) else {
                throw DataError(
                    path,
                    "has format version \(header.version), this program reads versions \(currentVersion) to "
                        + "\(versionWithCodes)")
            }
            manifest = try JSONDecoder().decode(DatasetManifest.self, from: Data(bytes))
        } catch let error as DataError {
            throw error
        } catch {
            throw DataError(path, "is not a data-set manifest: \(Self.reason(error))")
        }
        let digest = [UInt8](manifest.digest.utf8)
        guard digest.count == 64, let place = bytes.firstRange(of: digest) else {
            throw DataError(path, "has no digest of 64 digits; the data set is damaged, build it again")
        }
        var zeroed = bytes
        zeroed.replaceSubrange(place, with: [UInt8](noDigest.utf8))
        guard SHA256.hexDigest(zeroed) == manifest.digest else {
            throw DataError(path, "does not match its own digest; it was changed or damaged, build the data set again")
        }
        return manifest
    }

    private struct Header: Decodable {
        let format: String
        let version: Int
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case DecodingError.keyNotFound(let key, _): "\"\(key.stringValue)\" is missing"
        case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context),
            DecodingError.dataCorrupted(let context):
            (context.codingPath.map(\.stringValue) + [context.debugDescription]).joined(separator: ": ")
        default: "\(error)"
        }
    }
}
