/// Where the captions lie in an object or a table: under one key, or under the first of some usual ones that is there.
struct CaptionKeys {
    let keys: [String]
    /// Whether a person named the key.
    let isGiven: Bool

    /// - Parameter given: The key; nil for the usual ones.
    init(_ given: String?) {
        keys = given.map { [$0] } ?? ["text", "caption", "prompt"]
        isGiven = given != nil
    }

    /// Why there is no caption.
    var missing: String {
        if isGiven { return "\"\(keys[0])\" is missing" }
        return "\"text\" is missing, and so are \"caption\" and \"prompt\"; name the caption's key with --caption-key"
    }

    /// What of an object is asked for.
    struct Members {
        /// The texts under the keys that were asked for.
        var texts: [String: String] = [:]
        /// Nil when the object has none.
        var captions: [String]?
    }

    /// Reads an object: a caption is a text, or a list of texts, which are several captions.
    /// - Parameter texts: Further keys whose texts are wanted, where they are there.
    /// - Throws: `JSONReader.Problem` when it is no JSON object, or what is asked for is no text.
    func members(
        of line: UnsafeRawBufferPointer, and texts: [String]
    ) throws(JSONReader.Problem) -> Members {
        guard String(validating: line, as: UTF8.self) != nil else {
            throw JSONReader.Problem(description: "is not UTF-8 text")
        }
        var reader = JSONReader(line)
        guard reader.isNext("{") else {
            throw JSONReader.Problem(description: "is not a JSON object: it is \(reader.kind)")
        }
        var found: [String: Result<[String], JSONReader.Problem>] = [:]
        do throws(JSONReader.Problem) {
            try reader.object { (reader, key) throws(JSONReader.Problem) in
                guard keys.contains(key) || texts.contains(key) else { return try reader.skip() }
                found[key] = try Self.value(of: key, &reader, isList: !texts.contains(key))
            }
            try reader.end()
        } catch {
            throw JSONReader.Problem(description: "is not a JSON object: \(error.description)")
        }
        var members = Members()
        for key in texts { members.texts[key] = try found[key]?.get().first }
        for key in keys where members.captions == nil { members.captions = try found[key]?.get() }
        return members
    }

    /// The text or the list of texts that stands here, or why it is none.
    private static func value(
        of key: String, _ reader: inout JSONReader, isList: Bool
    ) throws(JSONReader.Problem) -> Result<[String], JSONReader.Problem> {
        if reader.isNext("\"") { return .success([try reader.text()]) }
        let kind = reader.kind
        let refusal = JSONReader.Problem(description: "\"\(key)\" is \(kind) and not a text")
        guard isList, reader.isNext("[") else {
            try reader.skip()
            return .failure(refusal)
        }
        var texts: [String]? = []
        try reader.list { (reader) throws(JSONReader.Problem) in
            if reader.isNext("\"") {
                texts?.append(try reader.text())
            } else {
                texts = nil
                try reader.skip()
            }
        }
        return texts.map { .success($0) } ?? .failure(refusal)
    }
}
