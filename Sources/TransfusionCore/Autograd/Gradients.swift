/// The gradients of a backward pass on its way: what has been added up so far for each tensor.
public final class Gradients {
    private var byTensor: [ObjectIdentifier: Tensor] = [:]
    private let context: Context

    init(context: Context) {
        self.context = context
    }

    /// The gradient of a tensor that no operation has consumed: a leaf's result.
    public subscript(tensor: Tensor) -> Tensor? {
        byTensor[ObjectIdentifier(tensor)]
    }

    /// Removes and returns the finished gradient of an operation's result; nil when nothing depended on it.
    func take(_ tensor: Tensor) -> Tensor? {
        byTensor.removeValue(forKey: ObjectIdentifier(tensor))
    }

    /// Adds `gradient` to the gradient of `tensor`. The caller may not change `gradient` afterwards.
    package func add(_ gradient: Tensor, to tensor: Tensor) {
        precondition(gradient.count == tensor.count, "a gradient of \(gradient.shape) for a tensor of \(tensor.shape)")
        guard byTensor[ObjectIdentifier(tensor)] != nil else {
            byTensor[ObjectIdentifier(tensor)] = gradient
            return
        }
        update(tensor, gradient.type) { sum, _ in context.accumulate(gradient, into: sum) }
    }

    /// Lets `body` write into the gradient of `tensor`, or add to what is there: a pass over memory less than `add`.
    ///
    /// - Parameter body: Gets the gradient and whether it holds a sum already. When it does not, its contents are
    ///   undefined and `body` writes every element.
    func update(_ tensor: Tensor, _ type: ElementType, _ body: (_ sum: Tensor, _ holdsSum: Bool) -> Void) {
        let key = ObjectIdentifier(tensor)
        guard var sum = byTensor.removeValue(forKey: key) else {
            let fresh = Tensor(tensor.shape, type, allocator: context.allocator)
            body(fresh, false)
            byTensor[key] = fresh
            return
        }
        // The same gradient may be on its way to another tensor too (both sides of an addition).
        if !isKnownUniquelyReferenced(&sum) || !sum.ownsItsStorage() {
            let copy = Tensor(sum.shape, sum.type, allocator: context.allocator)
            context.compute { copy.bytes.copyMemory(from: UnsafeRawBufferPointer(sum.bytes)) }
            sum = copy
        }
        body(sum, true)
        byTensor[key] = sum
    }
}
