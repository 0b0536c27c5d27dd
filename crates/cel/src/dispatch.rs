//! Whether a value may stand for a declared parameter, asked when types were not known beforehand.

use crate::types::Type;
use crate::value::Value;

pub fn fits_all(params: &[Type], args: &[Value<'_>]) -> bool {
    params.len() == args.len() && params.iter().zip(args).all(|(param, arg)| fits(param, arg))
}

/// Of lists and maps only the first element is looked at: they are of one type.
fn fits(param: &Type, arg: &Value<'_>) -> bool {
    match (param, arg) {
        (Type::Dyn | Type::Param(_), _) => true,
        (Type::List(element), Value::List(list)) => {
            list.is_empty() || list.get(0).is_ok_and(|first| fits(element, &first))
        }
        (Type::Map(key, value), Value::Map(map)) => {
            let open = |t: &Type| matches!(t, Type::Dyn | Type::Param(_));
            if open(key) && open(value) {
                return true;
            }
            let first = map.keys().into_iter().next();
            first.is_none_or(|first| {
                fits(key, &first) && matches!(map.find(&first), Ok(Some(found)) if fits(value, &found))
            })
        }
        (Type::Opaque(name, params), Value::Optional(inner)) if **name == *crate::types::OPTIONAL => {
            inner.as_ref().is_none_or(|inner| params.first().is_none_or(|param| fits(param, inner)))
        }
        (param, arg) => param.runtime_name() == arg.type_name(),
    }
}
