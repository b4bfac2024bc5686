/// What a file of a tokenizer says: text to ids and back.
protocol TokenizerModel: AnyObject, Sendable {
    var beginOfText: Int32 { get }
    var endOfText: Int32 { get }
    var beginOfImage: Int32 { get }
    var endOfImage: Int32 { get }
    /// Number of token ids, BOI and EOI included.
    var vocabulary: Int { get }

    /// - Parameter text: Valid UTF-8.
    func encode(_ text: UnsafeBufferPointer<UInt8>, parseSpecials: Bool) throws(DataError) -> [Int32]
    /// The text of ids of the vocabulary that are not special.
    func decode(_ ids: [Int32]) throws(DataError) -> String
    func isSpecial(_ id: Int32) -> Bool
    /// The written form of an id of the vocabulary.
    func piece(_ id: Int32) -> String
}
